from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.management.base import QueueCommand
from djqueue.management.options import add_ids, duration
from djqueue.management.output import Progress
from djqueue.operations import results
from djqueue.operations.verbs import stopping

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

WAITS = "queue_delete deletes a job that waits."


class Command(QueueCommand):
    help = (
        "Stop running jobs: their workers kill them, with all programs that they started. They "
        "end as cancelled: nothing retries them, and the steps behind them in a chain are deleted."
    )
    examples = ("queue_stop 7c1f9e01", "queue_stop 7c1f9e01 77fe0142 --wait 30")

    def add_arguments(self, parser: CommandParser) -> None:
        add_ids(parser)
        parser.add_argument(
            "--wait", type=duration, default=10, help="how long to wait for workers (default: 10)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        found = stopping.choose(options["ids"], options["connection"])
        with Progress(len(found.targets)) as progress:
            result = stopping.stop(
                found.targets, by=self.operator(), wait=options["wait"], on_progress=progress
            )
        self.report("stop", "Stopped", result, {}, by_id=True)
        self.report_left(result, "stopped", {results.NOT_RUNNING: WAITS}, by_id=True)
        self.report_unknown(found.unknown, len(found.targets))
