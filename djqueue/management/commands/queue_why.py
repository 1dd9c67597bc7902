from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.management.base import QueueCommand
from djqueue.management.options import AN_ID, add_json
from djqueue.operations.reports.finding import why

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

SHOWN = ("id", "name", "state", "answer", "remedy")


class Command(QueueCommand):
    help = "Say why a job is not running, and what to do about it."
    examples = ("queue_why 7c1f9e01", "queue_why 7c1f9e01 --json")
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", metavar="ID", help=AN_ID)
        parser.add_argument("--connection", help="look there only (default: every connection)")
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        found = why(options["id"], options["connection"])
        if options["json"]:
            self.json({key: getattr(found, key) for key in SHOWN})
            return
        self.stdout.write(found.answer)
        if found.remedy:
            self.stdout.write(f"    {found.remedy}")
