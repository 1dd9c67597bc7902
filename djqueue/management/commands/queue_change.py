from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from djqueue.management.base import QueueCommand
from djqueue.management.options import add_ids, seconds_ahead
from djqueue.management.output import Progress
from djqueue.operations import selection
from djqueue.operations.verbs.moving import Destination, move

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = (
        "Change the priority of waiting and delayed jobs, or when they run. In a store that is no "
        "database their attempts are counted from 0 again."
    )
    examples = (
        "queue_change 7c1f9e01 --priority 50",
        "queue_change 7c1f9e01 77fe0142 --at 30m",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_ids(parser)
        parser.add_argument("--priority", type=_priority, help="-100 to 100 (default: as it is)")
        parser.add_argument(
            "--at",
            type=seconds_ahead,
            help="now, a duration from now as in 30m, or a date and time (default: as it is)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        to = Destination(priority=options["priority"], delay=options["at"])
        if to == Destination():
            raise self.usage("Say what to change: --priority, --at, or both.")
        found = selection.choose(options["ids"], options["connection"])
        with Progress(len(found.targets)) as progress:
            result = move(found.targets, to, progress)
        changed = {"priority": to.priority, "delay": to.delay}
        self.report("change", "Changed", result, changed, by_id=True)
        self.report_left(result, "changed", {}, by_id=True)
        self.report_unknown(found.unknown, len(found.targets))


def _priority(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 1000
    if not -100 <= number <= 100:
        raise argparse.ArgumentTypeError(
            f'"{text}" is not a priority: write a number from -100 to 100.'
        )
    return number
