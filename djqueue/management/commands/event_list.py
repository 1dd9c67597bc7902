from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from djqueue.events.base import all_events
from djqueue.events.registry import Registration, listeners_of, registrations
from djqueue.management.base import QueueCommand
from djqueue.management.options import add_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import CommandParser

UNHEARD = "(no listener)"


class Line(NamedTuple):
    """An event or a pattern, and one of its listeners."""

    event: str
    listener: Registration | None


class Command(QueueCommand):
    help = "List the events and who listens to them, in the order in which they are called."
    examples = ("event_list", "event_list shop.OrderShipped", "event_list --json")
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="a part of an event's name (default: all)")
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        part = (options["name"] or "").casefold()
        found = [line for line in _lines() if part in line.event.casefold()]
        if options["json"]:
            for line in found:
                self.json({"event": line.event, "listener": None, **_facts(line.listener)})
        else:
            self._write(found)
        if part and not found:
            raise self.nothing_matched(f'No event has "{options["name"]}" in its name.')

    def _write(self, found: list[Line]) -> None:
        shown = ""
        for line in found:
            if line.event != shown:
                self.stdout.write(line.event)
                shown = line.event
            self.stdout.write(f"  {_words(line.listener)}")


def _lines() -> Iterator[Line]:
    """Return each event with its listeners, then patterns that match no event."""
    events = sorted(set(all_events()), key=lambda each: each.event_name)
    for event in events:
        found = listeners_of(event)
        for each in found or (None,):
            yield Line(event.event_name, each)
    for each in registrations():
        if isinstance(each.what, str) and not any(each.takes(event) for event in events):
            yield Line(f"{each.what} (matches no event)", each)


def _words(listener: Registration | None) -> str:
    if listener is None:
        return UNHEARD
    facts = _facts(listener)
    how = "queued" if facts["queued"] else "after the commit" if listener.after_commit else ""
    where = "".join(f" {key}={facts[key]}" for key in ("connection", "queue") if facts[key])
    by = f" by {facts['by']}" if facts["by"] else ""
    return f"{listener}{by}{f' ({how}{where})' if how else ''}"


def _facts(listener: Registration | None) -> dict[str, Any]:
    if listener is None:
        return {}
    spec = listener.job_class._spec if listener.job_class else None
    return {
        "listener": str(listener),
        "by": listener.what if isinstance(listener.what, str) else "",
        "queued": spec is not None,
        "queue": spec.options.queue if spec else None,
        "connection": spec.options.connection if spec else None,
        "after_commit": listener.after_commit,
    }
