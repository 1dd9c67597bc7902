"""How long a worker waits for SQL: every call on a connection of its own has an end.

A server that is asked to give up in time does so, and says why: a lock, say. But a silent network
swallows that answer too. So the client stops waiting by itself a moment later, and gives up the
connection, since it is unknown what is still on its way.
"""

from __future__ import annotations

import select
import time
import weakref
from collections.abc import Callable, Generator
from typing import Any, NoReturn

from djqueue.compat import has_wait

SERVER_SHARE = 0.8
"""The part of the time after which the server is to give up."""
CANCEL_SECONDS = 0.5
"""How long the request may take that cancels a statement."""


class Bound:
    """The time that calls on one connection have."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.server_ends = False
        """The server ends by itself what takes longer."""
        self._until: float | None = None

    def begin(self, seconds: float) -> bool:
        """A call of `seconds` begins; False, and nothing changes, inside another one."""
        if self._until is not None:
            return False
        self.seconds = seconds
        self._until = time.monotonic() + seconds
        return True

    def end(self) -> None:
        """The call has ended."""
        self._until = None

    @property
    def is_over(self) -> bool:
        """The call has had its time, and is not over yet."""
        return self._until is not None and time.monotonic() >= self._until

    def left(self) -> float:
        """Seconds that the next answer may take."""
        if self._until is None:
            return self.seconds
        return max(self._until - time.monotonic(), 0.0)


def bind(raw: Any, bound: Bound) -> None:
    """Let psycopg's connection `raw` wait for no answer for longer than `bound` says."""
    if has_wait(raw):
        raw.wait = _waiting(weakref.ref(raw), bound)


def _waiting(of: Callable[[], Any], bound: Bound) -> Callable[..., Any]:
    def wait(work: Generator[int, int, Any], *_: Any, **__: Any) -> Any:
        until = time.monotonic() + bound.left()
        try:
            state = next(work)
            poller, descriptor = select.poll(), of().pgconn.socket
            while True:
                poller.register(descriptor, _EVENTS[int(state)])
                found = poller.poll(max(until - time.monotonic(), 0.0) * 1000)
                if not found:
                    give_up(of(), bound)
                state = work.send(_ready(found[0][1]))
        except StopIteration as end:
            return end.value

    return wait


# psycopg's words for what a generator waits for and for what has come: 1 to read, 2 to write.
_EVENTS = {1: select.POLLIN, 2: select.POLLOUT, 3: select.POLLIN | select.POLLOUT}


def _ready(events: int) -> int:
    return (1 if events & ~select.POLLOUT else 0) | (2 if events & ~select.POLLIN else 0)


def give_up(raw: Any, bound: Bound) -> NoReturn:
    """Close psycopg's connection `raw`, whose answer does not come, and raise psycopg's error."""
    from psycopg import OperationalError  # the vendor's client, needed here only

    if not bound.server_ends:
        _cancel(raw)
    raw.close()
    raise OperationalError(f"no answer within {bound.seconds:.3g} s")


def _cancel(raw: Any) -> None:
    """So that a statement which waits for a lock does not go on doing so without us."""
    import psycopg

    capabilities = getattr(psycopg, "capabilities", None)
    if capabilities is None or not capabilities.has_cancel_safe():
        return  # what libpq had before 17 may wait for ever
    try:
        raw.cancel_safe(timeout=CANCEL_SECONDS)
    except psycopg.Error:
        return
