from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from djqueue.management.base import QueueCommand, printable_error
from djqueue.management.options import add_json, duration
from djqueue.management.watching import watch
from djqueue.operations.describe import describe_queue
from djqueue.operations.reports.queues.problems import paused_for
from djqueue.operations.reports.queues.status import report
from djqueue.operations.words import span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.core.management.base import CommandParser

    from djqueue.operations.reports.queues.queue_status import QueueStatus
    from djqueue.operations.reports.queues.status import Report


class Command(QueueCommand):
    help = "Show every queue with what it holds, its workers, and what is wrong with it."
    examples = ("queue_status redis --json", "queue_status --watch 5")
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("connection", nargs="?", help="only this connection (default: all)")
        parser.add_argument(
            "--watch",
            type=duration,
            nargs="?",
            const=2.0,
            metavar="SECONDS",
            help="show it again and again, until Ctrl-C (default: every 2 seconds)",
        )
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["watch"] is None:
            self._show(options)
        else:
            watch(self, options["watch"], lambda: self._show(options))

    def _show(self, options: Mapping[str, Any]) -> None:
        found = report(options["connection"])
        if options["json"]:
            for one in found.queues:
                self.json(_object(one, found))
        else:
            columns = ("queue", "waiting", "delayed", "reserved", "oldest", "workers", "status")
            self.rows(columns, map(_row, found.queues))
        # Where stdout is for data alone, what is wrong goes beside it.
        out = self.stderr if options["json"] else self.stdout
        for problem in found.problems:
            out.write(f"! {problem}")
        if not options["json"]:
            for one in found.queues:
                # With jobs in it, it is among the problems.
                if one.paused and not (one.counts.waiting or one.counts.delayed):
                    out.write(f"{one.connection}:{one.queue} is {paused_for(one)}.")
        if found.unreachable:
            raise CommandError("\n".join(map(printable_error, found.unreachable)))


def _object(one: QueueStatus, found: Report) -> dict[str, Any]:
    pause = one.pause
    place = f"{one.connection}:{one.queue}"
    return {
        **describe_queue(one),
        "workers": one.workers,
        "stuck": one.stuck,
        "status": one.state,
        "pause": pause and {"until": pause.until, "reason": pause.reason, "by": pause.by},
        "problems": [str(each) for each in found.problems if each.text.startswith(f"{place} ")],
    }


def _row(one: QueueStatus) -> tuple[object, ...]:
    counts = one.counts
    return (
        f"{one.connection}:{one.queue}",
        counts.waiting,
        counts.delayed,
        counts.reserved,
        None if one.oldest is None else span(one.oldest),
        "?" if one.workers is None else one.workers,
        one.state,
    )
