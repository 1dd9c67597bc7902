from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from djqueue.dispatch import controls
from djqueue.management.base import QueueCommand
from djqueue.management.queue_names import unknown_queue
from djqueue.operations.reports.queues.status import split_target

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = "End the pause of a queue."
    examples = ("queue_resume mail redis:slow", "queue_resume --all")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queues", nargs="*", metavar="[connection:]queue")
        parser.add_argument("--all", action="store_true", help="end every pause there is")

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["queues"]) == options["all"]:
            raise self.usage("Name the queues to resume, or --all.")
        if options["all"]:
            ended = controls.resume()
            self.audit("resume", ended, filters={"queues": "all"})
            self.stdout.write("No queue is paused any more." if ended else "No queue was paused.")
        for connection, queue in chain.from_iterable(map(split_target, options["queues"])):
            self._resume(connection, queue)

    def _resume(self, connection: str, queue: str) -> None:
        place = f"{connection}:{queue}"
        ended = controls.resume(connection, queue)
        self.audit("resume", ended, filters={"queues": place})
        if controls.is_paused(connection, queue):
            self.stdout.write(
                f"{place} stays paused, because every queue is. "
                "End that with: python manage.py queue_resume --all"
            )
        else:
            self.stdout.write(f"{place} is resumed." if ended else f"{place} was not paused.")
            self.remark("" if ended else unknown_queue(connection, queue))
