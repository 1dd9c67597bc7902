from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.management.forgetting import ForgetCommand
from djqueue.operations import failed_jobs

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(ForgetCommand):
    help = "Delete failed jobs that are old enough, without asking: for a scheduler such as cron."
    examples = ("queue_prune_failed --hours 168", "queue_prune_failed --hours 24 --dry-run")
    verb = "prune"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--hours",
            type=float,
            default=168,
            help="those that failed more than this many hours ago (default: 168, a week)",
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be done")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["hours"] < 0:
            raise self.usage("--hours is 0 or more.")
        selection = failed_jobs.failed_before(options["hours"] * 3600)
        self.forget(selection, options, ask=False, filters={"hours": options["hours"]})
