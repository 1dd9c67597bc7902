from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from djqueue.management.base import QueueCommand
from djqueue.management.output import Elapsed
from djqueue.operations import batches
from djqueue.operations.words import number_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

STATES = {"hours": batches.FINISHED, "unfinished": batches.UNFINISHED}
STATES["cancelled"] = batches.CANCELLED


class Command(QueueCommand):
    help = "Delete batches that are old enough, without asking: for a scheduler such as cron."
    examples = (
        "queue_prune_batches --hours 24 --unfinished 72",
        "queue_prune_batches --cancelled 24",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--hours",
            type=float,
            default=24,
            help="those that finished more than this many hours ago (default: 24)",
        )
        parser.add_argument(
            "--unfinished",
            type=float,
            help="also those that have not finished, and were dispatched more than this many hours "
            "ago",
        )
        parser.add_argument(
            "--cancelled",
            type=float,
            help="also those that are cancelled, and finished or, if they have not, were "
            "dispatched more than this many hours ago",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        given = {name: options[name] for name in STATES if options[name] is not None}
        if any(hours < 0 for hours in given.values()):
            raise self.usage("Hours are 0 or more.")
        now = timezone.now()
        with Elapsed():
            pruned = sum(
                batches.prune(now - timedelta(hours=hours), STATES[name])
                for name, hours in given.items()
            )
        self.audit("prune batches", pruned, filters=given)
        self.stdout.write(f"Deleted {number_of(pruned, 'batch')}.")
