"""Leaving a store that did not answer alone for a while: not every dispatch waits for it."""

from __future__ import annotations

import time

from djqueue.conf import Settings, settings

__all__ = ["Breaker", "breakers"]


class Breaker:
    """What a process knows of one store. Open while the store is left alone.

    Shared by all threads without a lock: the worst of two at once is that both ask.
    """

    def __init__(self) -> None:
        self._ask_at: float | None = None

    def allows(self, rest: float) -> bool:
        """Return whether to ask the store now. While it is open one caller in `rest` seconds
        may.
        """
        if self._ask_at is None:
            return True
        now = time.monotonic()
        if now < self._ask_at:
            return False
        self._ask_at = now + rest  # others go on elsewhere while this one waits for an answer
        return True

    def failed(self, rest: float) -> bool:
        """Leave the store alone for `rest` seconds, as it did not answer. Return whether it had
        answered before.
        """
        first_time = self._ask_at is None
        self._ask_at = time.monotonic() + rest
        return first_time

    def worked(self) -> bool:
        """Note that the store did answer. Return whether it had not before."""
        first_time = self._ask_at is not None
        self._ask_at = None
        return first_time


class Breakers:
    """The breakers of this process by connection. Other settings are other stores."""

    def __init__(self) -> None:
        self._made: tuple[Settings | None, dict[str, Breaker]] = (None, {})

    def of(self, connection: str) -> Breaker:
        """Return the breaker of a connection."""
        known = settings()
        made_for, made = self._made
        if made_for is not known:
            made = {}
            self._made = (known, made)
        return made.setdefault(connection, Breaker())


breakers = Breakers()
