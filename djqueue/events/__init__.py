"""Events and their listeners: what happened is said once, and who cares listens.

    class OrderShipped(Event):
        order: Order

    @listen(OrderShipped, queued=True, queue="mail")
    def send_note(event: OrderShipped) -> None: ...

    event(OrderShipped(order))

Listeners are found in each app's ``listeners.py``. A queued one runs as a job.

Not here: Django's signals about jobs (`djqueue.signals`).
"""

from __future__ import annotations

from djqueue.events.base import Event
from djqueue.events.firing import aevent, auntil, defer, event, until
from djqueue.events.listening import Listener, listen
from djqueue.events.registry import forget, listeners_of
from djqueue.events.subscribing import Subscriptions, subscribe

__all__ = [
    "Event",
    "Listener",
    "Subscriptions",
    "aevent",
    "auntil",
    "defer",
    "event",
    "forget",
    "listen",
    "listeners_of",
    "subscribe",
    "until",
]
