from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from djqueue.management.base import QueueCommand, printable_error
from djqueue.management.options import add_failed_filters, add_force, failed_selection
from djqueue.management.output import Progress
from djqueue.management.queue_names import mistyped_failed
from djqueue.operations import audit as auditing
from djqueue.operations import failed_jobs
from djqueue.operations.failed_jobs import ALL, Selection
from djqueue.operations.retrying import retry
from djqueue.operations.words import number_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = (
        "Move failed jobs back to their queues, under the same ids. Attempts are counted from 0 "
        "again, and a retry_until from the retry. Ids act at once; all and filters ask first."
    )
    examples = ("queue_retry 7c1f9e01", "queue_retry --name shop.SendReceipt --since 1h --dry-run")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "ids",
            nargs="*",
            metavar="ID",
            help="at least six characters of an id, or the word all",
        )
        add_failed_filters(parser, rows=True)
        add_force(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        ids, filters = options["ids"], failed_selection(options)
        by_id = ids != ["all"] and bool(ids)
        if by_id and ("all" in ids or filters != ALL):
            raise self.usage("Give ids, or the word all, or filters such as --queue: one of them.")
        if not ids and filters == ALL:
            raise self.usage("Say what to retry: ids, the word all, or filters such as --queue.")
        if by_id:
            found = failed_jobs.resolve(ids)
            known = len(found.selection.ids or ())
            self._retry(found.selection, known, options)
            self.report_unknown(found.unknown, known)
            return
        count = failed_jobs.count(filters)
        if not count and filters != ALL:
            hint = mistyped_failed(options["queue"])
            raise self.nothing_matched(f"No failed job matched. Nothing was changed.{hint}")
        if not count:
            self.stdout.write("There are no failed jobs.")
            return
        if not options["dry_run"]:
            which = failed_jobs.named(filters)
            self.confirm(f"{which}\nThis retries {number_of(count, 'failed job')}.", options)
        self._retry(filters, count, options)

    def _retry(self, selection: Selection, count: int, options: dict[str, Any]) -> None:
        if not count:
            return
        which = failed_jobs.named(selection)
        if options["dry_run"]:
            self.stdout.write(f"{number_of(count, 'failed job')} would be retried.\n    {which}")
            return
        ids = failed_jobs.some_ids(selection, auditing.MOST_IDS)
        with Progress(count) as progress:
            done = retry(selection, progress)
        kept = done.gone + sum(done.refused.values())
        self.audit("retry", done.moved, kept=kept, filters=selection.described(), ids=ids)
        named = f"\n    {which}" if done.moved == count else ""
        self.stdout.write(f"Retried {number_of(done.moved, 'job')}.{named}")
        if done.gone:
            self.stderr.write(
                f"{number_of(done.gone, 'job')} had been retried or forgotten by another operator."
            )
        if done.refused:
            raise CommandError(
                "\n".join(
                    f"{number_of(number, 'job')} not retried: {printable_error(reason)}"
                    for reason, number in done.refused.items()
                )
            )
