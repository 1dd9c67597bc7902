from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.management.forgetting import ForgetCommand
from djqueue.management.options import add_force
from djqueue.operations import failed_jobs

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(ForgetCommand):
    help = "Delete all failed jobs, or those that failed a while ago. It asks first."
    examples = ("queue_flush --dry-run", "queue_flush --hours 48 --force")
    verb = "flush"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--hours",
            type=float,
            help="only those that failed more than this many hours ago (default: all)",
        )
        add_force(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        hours = options["hours"]
        selection = failed_jobs.ALL if hours is None else failed_jobs.failed_before(hours * 3600)
        self.forget(selection, options, ask=True, filters={"hours": hours or "all"})
