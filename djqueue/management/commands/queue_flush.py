from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.finish import failed
from djqueue.management.base import QueueCommand, number_of
from djqueue.management.options import add_force
from djqueue.management.output import Progress
from djqueue.operations import audit as auditing

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = "Delete all failed jobs, or those that failed a while ago. It asks first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--hours", type=float, help="only those that failed longer ago")
        add_force(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        hours = options["hours"]
        selection = failed.ALL if hours is None else failed.failed_before(hours * 3600)
        count = failed.count(selection)
        which = failed.named(selection)
        if options["dry_run"]:
            named = f"\n    {which}" if count else ""
            self.stdout.write(f"{number_of(count, 'failed job')} would be deleted.{named}")
            return
        if count:
            self.confirm(f"{which}\nThis deletes {number_of(count, 'failed job')}.", options)
        ids = failed.some_ids(selection, auditing.MOST_IDS)
        with Progress(count) as progress:
            forgotten = failed.forget(selection, progress)
        self.audit("flush", forgotten, filters={"hours": hours or "all"}, ids=ids)
        self.stdout.write(f"Deleted {number_of(forgotten, 'failed job')}.")
