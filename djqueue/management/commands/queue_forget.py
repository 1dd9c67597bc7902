from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.management.base import QueueCommand
from djqueue.management.options import add_failed_filters, add_force, failed_selection
from djqueue.management.output import Progress
from djqueue.operations import audit as auditing
from djqueue.operations import failed_jobs
from djqueue.operations.failed_jobs import ALL, Selection
from djqueue.operations.words import number_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = "Delete failed jobs, by id or by filter. They cannot be retried after that."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="ID")
        add_failed_filters(parser, rows=True)
        add_force(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        filters = failed_selection(options)
        if bool(options["ids"]) == (filters != ALL):
            raise self.usage("Give ids, or filters such as --queue; queue_flush deletes them all.")
        if options["ids"]:
            found = failed_jobs.resolve(options["ids"])
            known = len(found.selection.ids or ())
            self._forget(found.selection, known, options)
            self.report_unknown(found.unknown, known)
            return
        count = failed_jobs.count(filters)
        if not count:
            raise self.nothing_matched("No failed job matched. Nothing was changed.")
        if not options["dry_run"]:
            which = failed_jobs.named(filters)
            self.confirm(f"{which}\nThis deletes {number_of(count, 'failed job')}.", options)
        self._forget(filters, count, options)

    def _forget(self, selection: Selection, count: int, options: dict[str, Any]) -> None:
        if not count:
            return
        which = failed_jobs.named(selection)
        if options["dry_run"]:
            self.stdout.write(f"{number_of(count, 'failed job')} would be deleted.\n    {which}")
            return
        ids = failed_jobs.some_ids(selection, auditing.MOST_IDS)
        with Progress(count) as progress:
            forgotten = failed_jobs.forget(selection, progress)
        self.audit("forget", forgotten, filters=selection.described(), ids=ids)
        named = f"\n    {which}" if forgotten == count else ""
        self.stdout.write(f"Deleted {number_of(forgotten, 'failed job')}.{named}")
