from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.management.base import QueueCommand
from djqueue.management.options import AN_ID
from djqueue.operations import batches
from djqueue.operations.words import number_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = "Retry the members of batches that have failed. They run although it may be cancelled."
    examples = ("queue_retry_batch 8c5aec13", "queue_retry_batch 8c5aec13 77fe0142")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="+", metavar="ID", help=AN_ID)

    def handle(self, *args: Any, **options: Any) -> None:
        for batch in [batches.find(each) for each in options["ids"]]:
            retried = batch.retry_failed()
            self.audit("retry batch", retried, filters={"batch": batch.pk})
            left = f"; {batch.failed_jobs} are left" if batch.failed_jobs else ""
            self.stdout.write(f"Retried {number_of(retried, 'job')} of batch {batch.pk}{left}.")
