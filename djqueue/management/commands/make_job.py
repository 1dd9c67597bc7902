from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.management.base import QueueCommand
from djqueue.management.scaffold import add_place, app_of, making, write_job

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = "Write a new job into an app's jobs.py. Existing code is not changed."
    examples = ("make_job shop SendReceipt", "make_job shop send_receipt --function")
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_place(parser, "as in SendReceipt, or send_receipt with --function")
        parser.add_argument("--function", action="store_true", help="a function with @job")

    def handle(self, *args: Any, **options: Any) -> None:
        with making():
            made = write_job(app_of(self, options), options["name"], function=options["function"])
        self.stdout.write(f"Wrote {made.name} into {made.path}. Queue it with: {made.call}")
