"""What is asked of every contestant. Runs in its environment: the standard library only."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any


class Contestant:
    """A queue with an empty room of its own in the store."""

    def __init__(self, store: dict[str, Any]) -> None:
        self.store = store

    # -- to be written for each ----------------------------------------------------------------

    def prepare(self) -> None:
        """Make the tables."""

    def clear(self) -> None:
        """Make the queue empty."""

    def one(self, number: int) -> None:
        """Dispatch one job, committed."""
        raise NotImplementedError

    def many(self, count: int) -> None:
        """Dispatch `count` jobs in the fastest way that its documentation offers."""
        for number in range(count):
            self.one(number)

    def work(self, **options: Any) -> None:
        """Be a worker, in the foreground, until SIGTERM."""
        raise NotImplementedError

    # -- the same for all ----------------------------------------------------------------------

    def dispatch(self, count: int) -> float:
        """Jobs a second, one by one."""
        began = time.perf_counter()
        for number in range(count):
            self.one(number)
        return count / (time.perf_counter() - began)

    def dispatch_many(self, count: int) -> float:
        """Jobs a second, in bulk."""
        began = time.perf_counter()
        self.many(count)
        return count / (time.perf_counter() - began)

    def pickup(self, pauses: Sequence[float]) -> list[int]:
        """Dispatch one job after each pause; when each call had returned, in nanoseconds."""
        self.one(-1)  # connected, and whatever is made once is made
        returned = []
        for number, pause in enumerate(pauses):
            time.sleep(pause)
            self.one(number)
            returned.append(time.monotonic_ns())
        return returned
