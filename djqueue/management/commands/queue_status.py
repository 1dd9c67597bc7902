from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from djqueue.bus.status import report, span
from djqueue.management.base import QueueCommand
from djqueue.management.options import add_json
from djqueue.management.rows import queue_object

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from djqueue.bus.status import QueueStatus


class Command(QueueCommand):
    help = "Every queue with what it holds, its workers, and what is wrong with it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("connection", nargs="?", help="only this connection")
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        found = report(options["connection"])
        if options["json"]:
            for one in found.queues:
                self.json(queue_object(one))
        else:
            columns = ("queue", "waiting", "delayed", "reserved", "oldest", "workers", "status")
            self.rows(columns, map(_row, found.queues))
        # Where stdout is for data alone, what is wrong goes beside it.
        out = self.stderr if options["json"] else self.stdout
        for problem in found.problems:
            out.write(f"! {problem}")
        if found.unreachable:
            raise CommandError("\n".join(found.unreachable))


def _row(one: QueueStatus) -> tuple[object, ...]:
    counts = one.counts
    return (
        f"{one.connection}:{one.queue}",
        counts.waiting,
        counts.delayed,
        counts.reserved,
        None if one.oldest is None else span(one.oldest),
        one.workers,
        "paused" if one.paused else "active" if one.workers else "no worker",
    )
