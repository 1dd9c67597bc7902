from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.composition import removing
from djqueue.dispatch.connections import queues
from djqueue.drivers.base import State
from djqueue.errors import QueueError
from djqueue.management.base import QueueCommand
from djqueue.management.options import add_force, queue_names
from djqueue.management.output import Elapsed
from djqueue.management.queue_names import unknown_queue
from djqueue.operations.selection import matching
from djqueue.operations.words import listed, number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.management.base import CommandParser

    from djqueue.dispatch.connections import QueueConnection


LOOKED_AT = 1000
"""Jobs that are looked at to say which ones are deleted."""


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
        held += sum(len(removing.delayed_steps(member.driver, name)) for member, name in chosen)
        places = ", ".join(f"{member.name}:{name}" for member, name in chosen)
        which = _which(chosen, held) if held else ""
        named = f"\n    {which}" if which else ""
        if options["dry_run"]:
            self.stdout.write(f"{number_of(held, 'job')} would be deleted from {places}.{named}")
            return
        if held:
            ask = f"{which}\n" if which else ""
            self.confirm(f"{ask}This deletes {number_of(held, 'job')} from {places}.", options)
        with Elapsed():
            cleared = sum(member.clear(name) for member, name in chosen)
        self.audit("clear", cleared, filters={"queues": places})
        shown = named if cleared == held else ""
        self.stdout.write(f"Deleted {number_of(cleared, 'job')} from {places}.{shown}")
        for member, name in chosen if not cleared else ():
            self.remark(unknown_queue(member.name, name))


def _which(chosen: Sequence[tuple[QueueConnection, str]], held: int) -> str:
    """Return which jobs wait there, as far as their stores can list them."""
    waits = (State.WAITING, State.DELAYED)
    found: list[tuple[str, str]] = []
    for member, name in chosen:
        try:
            some = matching(member.name, name, waits, limit=LOOKED_AT - len(found))
            found += [(each.job.name, each.job.id) for each in some]
        except QueueError:
            return ""
    rest = f" among the first {LOOKED_AT:,}" if held > len(found) else ""
    return f"{listed(found)}{rest}" if found else ""
