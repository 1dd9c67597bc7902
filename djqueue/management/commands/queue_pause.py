from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from djqueue.dispatch import controls
from djqueue.management.base import QueueCommand
from djqueue.management.options import duration
from djqueue.management.queue_names import unknown_queue
from djqueue.operations.reports.queues.status import split_target
from djqueue.operations.words import span

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = "Let workers begin no more jobs of a queue. Those that run end as usual."
    examples = (
        'queue_pause mail redis:slow --for 30m --reason "SMTP is down"',
        "queue_pause --all --for 1h",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queues", nargs="*", metavar="[connection:]queue")
        parser.add_argument("--all", action="store_true", help="every queue of every connection")
        parser.add_argument(
            "--for",
            type=duration,
            dest="for_",
            metavar="30m",
            help="pause for this long (default: until queue_resume)",
        )
        parser.add_argument("--reason", default="", help="why, for others to read")

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["queues"]) == options["all"]:
            raise self.usage("Name the queues to pause, or --all.")
        details = {"for_": options["for_"], "reason": options["reason"], "by": self.operator()}
        until = "until queue_resume" if options["for_"] is None else f"for {span(options['for_'])}"
        shown = {"until": until, "reason": options["reason"]}
        if options["all"]:
            controls.pause(**details)
            self.audit("pause", 1, filters={"queues": "all", **shown})
            self.stdout.write(f"Every queue is paused {until}.")
        for connection, queue in chain.from_iterable(map(split_target, options["queues"])):
            controls.pause(connection, queue, **details)
            place = f"{connection}:{queue}"
            self.audit("pause", 1, filters={"queues": place, **shown})
            self.stdout.write(f"{place} is paused {until}.")
            self.remark(unknown_queue(connection, queue))
