"""Helpers for the tests of projects and of drivers. Importing this needs no settings.

`fake_queue` records jobs instead of running them, `fake_events` does so with events, `work` runs
what waits as a worker would, `queued_mails` queues the mails of a test, and `DriverContract` is the
suite that every driver passes.

Not here: the tests of djqueue itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from djqueue.testing.contract import DriverContract
    from djqueue.testing.events import FakeEvents, fake_events
    from djqueue.testing.faking import FakeQueue, fake_queue
    from djqueue.testing.mails import QueuedMails, queued_mails
    from djqueue.testing.middleware import MiddlewareRun, run_middleware
    from djqueue.testing.working import work

__all__ = [
    "DriverContract",
    "FakeEvents",
    "FakeQueue",
    "MiddlewareRun",
    "QueuedMails",
    "fake_events",
    "fake_queue",
    "queued_mails",
    "run_middleware",
    "work",
]

_HOMES = {
    "DriverContract": "djqueue.testing.contract",
    "FakeEvents": "djqueue.testing.events",
    "FakeQueue": "djqueue.testing.faking",
    "MiddlewareRun": "djqueue.testing.middleware",
    "QueuedMails": "djqueue.testing.mails",
    "fake_events": "djqueue.testing.events",
    "fake_queue": "djqueue.testing.faking",
    "queued_mails": "djqueue.testing.mails",
    "run_middleware": "djqueue.testing.middleware",
    "work": "djqueue.testing.working",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
