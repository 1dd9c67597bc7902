from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from djqueue.conf import did_you_mean
from djqueue.events.base import all_events
from djqueue.management.base import QueueCommand
from djqueue.management.scaffold import add_place, app_of, making, write_listener

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from djqueue.events import Event


class Command(QueueCommand):
    help = "Write a new queued listener into an app's listeners.py. Existing code is not changed."
    examples = (
        "make_listener shop SendNote --event shop.OrderShipped",
        "make_listener shop send_note --function",
    )
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_place(parser, "as in SendNote, or send_note with --function")
        parser.add_argument(
            "--event",
            help="what it listens to, as in shop.OrderShipped (default: all events of the app)",
        )
        parser.add_argument("--function", action="store_true", help="a function with @listen")

    def handle(self, *args: Any, **options: Any) -> None:
        config = app_of(self, options)
        event = _event(options["event"]) if options["event"] else None
        with making():
            made = write_listener(config, options["name"], event, function=options["function"])
        self.stdout.write(f"Wrote {made.name} into {made.path}. It hears: {made.call}")


def _event(name: str) -> type[Event]:
    known = {each.event_name: each for each in all_events()}
    if name not in known:
        raise CommandError(f'There is no event "{name}".{did_you_mean(name, known)}')
    return known[name]
