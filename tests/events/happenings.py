"""Events of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from djqueue.events import Event
from djqueue.events import registry as listeners
from djqueue.jobs import registry
from tests.app.models import Note


class OrderShipped(Event, name="shop.OrderShipped"):
    order: int
    via: str = "post"


class OrderLost(Event, name="shop.OrderLost"):
    order: int


class OrderPlaced(Event, name="shop.OrderPlaced"):
    order: int


class OrderSent(OrderShipped, name="shop.OrderSent"):
    """Another way to ship."""


class NoteWritten(Event, name="notes.NoteWritten"):
    note: Note


class OrderPaid(Event, name="shop.OrderPaid", after_commit=True):
    order: int


@contextmanager
def own_listeners() -> Iterator[None]:
    """Forget the listeners and jobs of a test when it ends."""
    before = {spec.name for spec in registry.all()}
    restore = listeners.kept()
    yield
    restore()
    for spec in registry.all():
        if spec.name not in before:
            registry.unregister(spec.name)
