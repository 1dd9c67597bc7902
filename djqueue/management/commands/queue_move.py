from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.management.base import QueueCommand
from djqueue.management.options import add_ids
from djqueue.management.output import Progress
from djqueue.management.queue_names import unknown_queue
from djqueue.operations import results, selection
from djqueue.operations.verbs.moving import Destination, move

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from djqueue.operations.results import Target

STOP_IT = "A running job can only be stopped: queue_stop."


class Command(QueueCommand):
    help = (
        "Move waiting and delayed jobs to another queue or connection, under the same ids. In "
        "another store their attempts are counted from 0 again."
    )
    examples = (
        "queue_move 7c1f9e01 --queue slow",
        "queue_move 7c1f9e01 77fe0142 --connection redis --queue mail",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_ids(parser, where=False)
        parser.add_argument("--queue", help="the new queue (default: as it is)")
        parser.add_argument("--connection", help="the new connection (default: as it is)")

    def handle(self, *args: Any, **options: Any) -> None:
        to = Destination(options["connection"], options["queue"])
        if to == Destination():
            raise self.usage("Say where to: --queue, --connection, or both.")
        found = selection.choose(options["ids"])
        for connection in {to.connection or each.connection for each in found.targets}:
            if to.queue is not None:
                self.remark(unknown_queue(connection, to.queue))
        self._move(found.targets, to)
        self.report_unknown(found.unknown, len(found.targets))

    def _move(self, targets: list[Target], to: Destination) -> None:
        with Progress(len(targets)) as progress:
            result = move(targets, to, progress)
        where = {"connection": to.connection, "queue": to.queue}
        self.report("move", "Moved", result, where, by_id=True)
        self.report_left(result, "moved", {results.RUNNING: STOP_IT}, by_id=True)
