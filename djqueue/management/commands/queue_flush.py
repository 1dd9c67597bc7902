from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.management.base import QueueCommand
from djqueue.management.options import add_force
from djqueue.management.output import Progress
from djqueue.operations import audit as auditing
from djqueue.operations import failed_jobs
from djqueue.operations.words import number_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = "Delete all failed jobs, or those that failed a while ago. It asks first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--hours", type=float, help="only those that failed longer ago")
        add_force(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        hours = options["hours"]
        selection = failed_jobs.ALL if hours is None else failed_jobs.failed_before(hours * 3600)
        count = failed_jobs.count(selection)
        which = failed_jobs.named(selection)
        if options["dry_run"]:
            named = f"\n    {which}" if count else ""
            self.stdout.write(f"{number_of(count, 'failed job')} would be deleted.{named}")
            return
        if count:
            self.confirm(f"{which}\nThis deletes {number_of(count, 'failed job')}.", options)
        ids = failed_jobs.some_ids(selection, auditing.MOST_IDS)
        with Progress(count) as progress:
            forgotten = failed_jobs.forget(selection, progress)
        self.audit("flush", forgotten, filters={"hours": hours or "all"}, ids=ids)
        self.stdout.write(f"Deleted {number_of(forgotten, 'failed job')}.")
