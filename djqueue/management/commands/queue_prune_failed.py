from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.management.base import QueueCommand
from djqueue.management.output import Progress
from djqueue.operations import failed_jobs
from djqueue.operations.words import number_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = "Delete failed jobs that are old enough. It never asks: it is meant for a timetable."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--hours", type=float, default=168, help="those that failed longer ago (168: a week)"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be done")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["hours"] < 0:
            raise self.usage("--hours is 0 or more.")
        selection = failed_jobs.failed_before(options["hours"] * 3600)
        if options["dry_run"]:
            count = number_of(failed_jobs.count(selection), "failed job")
            self.stdout.write(f"{count} would be deleted.")
            return
        with Progress(failed_jobs.count(selection)) as progress:
            forgotten = failed_jobs.forget(selection, progress)
        self.audit("prune", forgotten, filters={"hours": options["hours"]})
        self.stdout.write(f"Deleted {number_of(forgotten, 'failed job')}.")
