from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.dispatch.connections import queues
from djqueue.management.base import QueueCommand
from djqueue.management.options import add_force, queue_names
from djqueue.management.queue_names import unknown_queue
from djqueue.operations.words import number_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = "Delete everything that waits in a queue or is delayed. Running jobs are not touched."
    examples = (
        "queue_clear --queue mail --dry-run",
        "queue_clear redis --queue high,default --force",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("connection", nargs="?", help="(default: the default connection)")
        parser.add_argument(
            "--queue", help="one or several: high,default (default: the connection's own)"
        )
        add_force(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        asked = queues[options["connection"]]
        names = queue_names(options["queue"]) or [asked.settings.queue]
        chosen = [
            (queues[member], asked.check(name))
            for member in asked.members
            for name in dict.fromkeys(names)
        ]
        counts = [member.counts(name) for member, name in chosen]
        held = sum((each.waiting or 0) + (each.delayed or 0) for each in counts)
        places = ", ".join(f"{member.name}:{name}" for member, name in chosen)
        if options["dry_run"]:
            self.stdout.write(f"{number_of(held, 'job')} would be deleted from {places}.")
            return
        if held:
            self.confirm(f"This deletes {number_of(held, 'job')} from {places}.", options)
        cleared = sum(member.clear(name) for member, name in chosen)
        self.audit("clear", cleared, filters={"queues": places})
        self.stdout.write(f"Deleted {number_of(cleared, 'job')} from {places}.")
        for member, name in chosen if not cleared else ():
            self.remark(unknown_queue(member.name, name))
