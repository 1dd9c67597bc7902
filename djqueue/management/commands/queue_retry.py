from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from djqueue.jobs import registry
from djqueue.management.base import QueueCommand, printable_error
from djqueue.management.options import (
    AN_ID,
    USAGE,
    add_failed_filters,
    add_force,
    failed_selection,
    pace,
)
from djqueue.management.output import Progress
from djqueue.management.queue_names import mistyped_failed
from djqueue.management.typed import values_of
from djqueue.operations import audit as auditing
from djqueue.operations import failed_jobs
from djqueue.operations.failed_jobs import ALL, Selection
from djqueue.operations.retrying import How, refusal, retry
from djqueue.operations.verbs.editing import edited
from djqueue.operations.words import number_of, span
from djqueue.payload.queue_names import check_queue_name
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = (
        "Move failed jobs back to their queues, under the same ids. Attempts are counted from 0 "
        "again, and a retry_until from the retry. Ids act at once; all and filters ask first."
    )
    examples = (
        "queue_retry --name shop.SendReceipt --since 1h --spread 10/s --dry-run",
        "queue_retry 7c1f9e01 --set copies=2",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "ids",
            nargs="*",
            metavar="ID",
            help=f"{AN_ID}; or the word all",
        )
        add_failed_filters(parser, rows=True)
        parser.add_argument(
            "--spread",
            type=pace,
            metavar="RATE",
            help="a rate as in 10/s, or a duration over which all are spread, as in 10m "
            "(default: all at once)",
        )
        parser.add_argument(
            "--set",
            action="append",
            metavar="ARGUMENT=VALUE",
            help="another value for an argument, for one id (default: as it is)",
        )
        parser.add_argument(
            "--on",
            metavar="[CONNECTION:][QUEUE]",
            help="another queue, or another connection and its queue, as in slow, redis:slow or "
            "redis: (default: where each failed)",
        )
        add_force(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        ids, filters = options["ids"], failed_selection(options)
        self._place(options["on"])  # before any question
        by_id = ids != ["all"] and bool(ids)
        if by_id and ("all" in ids or filters != ALL):
            raise self.usage("Give ids, or the word all, or filters such as --queue: one of them.")
        if not ids and filters == ALL:
            raise self.usage("Say what to retry: ids, the word all, or filters such as --queue.")
        if options["set"]:
            self._edit(ids, options)
            return
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
            what = f"{number_of(count, 'failed job')}{_on(options)}"
            self.confirm(f"{which}\nThis retries {what}.", options)
        self._retry(filters, count, options)

    def _edit(self, ids: list[str], options: dict[str, Any]) -> None:
        """Retry one failed job with other arguments."""
        if len(ids) != 1 or ids == ["all"]:
            raise self.usage("--set is for one id.")
        row = failed_jobs.find(ids[0])
        given = dict(map(self._pair, options["set"]))
        try:
            new = edited(row, values_of(registry.find(row.name), given))
        except TypeError as error:
            raise CommandError(str(error), returncode=USAGE) from error
        for name, (before, now) in new.changes.items():
            self.stdout.write(f"{name}: {_written(before)} → {_written(now)}")
        if not new.changes:
            self.remark("The arguments are the same as before.")
        selection = Selection(ids=(str(row.uuid),))
        self._retry(selection, 1, options, {row.pk: new.payload})

    def _pair(self, text: str) -> tuple[str, str]:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise self.usage(f'"{text}" is not written as argument=value. Nothing was changed.')
        return name, value

    def _place(self, given: str | None) -> tuple[str | None, str | None]:
        """Return the connection and the queue that ``--on`` names."""
        if given is None:
            return None, None
        connection, colon, queue = given.rpartition(":")
        if not connection and (colon or not queue):
            raise self.usage('--on takes a queue, or "connection:queue". Nothing was changed.')
        if connection:
            reason = refusal(connection, queue or None)
            if reason is not None:
                raise CommandError(f"{printable_error(reason)} Nothing was changed.")
        else:  # each connection that a job failed on has its own rules: `retry` asks them
            check_queue_name(queue, tagged=True)
        return connection or None, queue or None

    def _retry(
        self,
        selection: Selection,
        count: int,
        options: dict[str, Any],
        payloads: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        if not count:
            return
        connection, queue = self._place(options["on"])
        which = failed_jobs.named(selection)
        if options["dry_run"]:
            what = f"{number_of(count, 'failed job')} would be retried{_on(options)}"
            self.stdout.write(f"{what}.\n    {which}")
            return
        ids = failed_jobs.some_ids(selection, auditing.MOST_IDS)
        pace = options["spread"] or 0.0
        every = pace if pace >= 0 else -pace / count
        how = How(every, payloads, connection=connection, queue=queue)
        with Progress(count) as progress:
            done = retry(selection, progress, how=how)
        kept = done.gone + sum(done.refused.values())
        filters = {**selection.described(), "to": options["on"]}
        self.audit("retry", done.moved, kept=kept, filters=filters, ids=ids)
        named = f"\n    {which}" if done.moved == count else ""
        over = f" The last one is due in {span(how.pace * (count - 1))}." if how.pace else ""
        self.stdout.write(f"Retried {number_of(done.moved, 'job')}{_on(options)}.{over}{named}")
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


def _on(options: Mapping[str, Any]) -> str:
    """Return where the jobs go, for a sentence; empty if each goes to where it failed."""
    return f" on {options['on'].rstrip(':')}" if options["on"] else ""


def _written(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False), 200)
