from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.management.base import QueueCommand
from djqueue.management.scaffold import add_place, app_of, making, write_event

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = "Write a new event into an app's events.py. Existing code is not changed."
    examples = ("make_event shop OrderShipped", "make_event shop order_shipped")
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_place(parser, "as in OrderShipped")

    def handle(self, *args: Any, **options: Any) -> None:
        with making():
            made = write_event(app_of(self, options), options["name"])
        self.stdout.write(f"Wrote {made.name} into {made.path}. Fire it with: {made.call}")
