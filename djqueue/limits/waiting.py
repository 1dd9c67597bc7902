"""Coming to a limit, waiting for it, and being refused: what `throttle` and `funnel` share."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from djqueue.errors import LimitReached
from djqueue.limits.store import store
from djqueue.limits.values import BEYOND, HORIZON, Rate, Room
from djqueue.runner.current import current_job

if TYPE_CHECKING:
    from typing_extensions import Self

LEAST = 0.01
"""Seconds between two looks at a limit that is waited for."""
SOONEST = 0.05
"""Seconds after which a job that was refused comes back at the earliest."""
LONGEST_KEY = 200


class Guard(ABC):
    """A context manager that raises `LimitReached`."""

    worth_waiting = 0.0
    """Seconds that a job waits rather than go back to its queue."""
    longest_pause = 1.0
    """Seconds after which a limit that is waited for is looked at again at the latest."""

    def __init__(self, limited: Rate | Room, key: str, block: float) -> None:
        if not 0 <= block < 2**31:
            raise ValueError(f"block={block!r} cannot work: it has to be seconds, from 0 on.")
        self._limited = limited
        self._key = key
        self._block = block

    def __enter__(self) -> Self:
        began = time.monotonic()
        while (refused := self._try()) is not None:
            left = self._left(refused, began)
            if left <= 0:
                raise self._reached(refused)
            time.sleep(self._pause(refused, left))
        return self

    async def __aenter__(self) -> Self:
        began = time.monotonic()
        while (refused := await sync_to_async(self._try)()) is not None:
            left = self._left(refused, began)
            if left <= 0:
                raise await sync_to_async(self._reached)(refused)
            await asyncio.sleep(self._pause(refused, left))
        return self

    def _left(self, refused: float, began: float) -> float:
        """Seconds that are left to wait. A job waits for a moment in any case, if that is enough:
        to go back to its queue and come again takes longer.
        """
        waited = time.monotonic() - began
        if refused <= self.worth_waiting and current_job(None) is not None:
            return max(self._block, 2 * self.worth_waiting) - waited
        return self._block - waited

    def __exit__(self, *error: object) -> None:
        self._leave()

    async def __aexit__(self, *error: object) -> None:
        await sync_to_async(self._leave)()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The block, after ``__enter__()``."""
        try:
            yield
        finally:
            self._leave()

    @abstractmethod
    def _try(self) -> float | None:
        """None if it may pass, or the seconds until another look is worth it."""

    @abstractmethod
    def _step(self, refused: float) -> float:
        """Seconds from one job that may pass to the next."""

    def _leave(self) -> None:
        """It has passed, and is through."""

    def _pause(self, refused: float, left: float) -> float:
        """Not all who wait look at the same moment."""
        pause = min(max(refused, LEAST), self.longest_pause)
        return min(pause * random.uniform(1.0, 1.1), left)

    def _reached(self, refused: float) -> LimitReached:
        """Why it may not pass. A job is given a time of its own to come back at; other callers may
        never come again.
        """
        wait = refused
        if current_job(None) is not None:
            wait = retry_in(self._limited.name, refused, self._step(refused))
        return LimitReached(
            f'The limit "{self._key}" is reached: {self._limited}. It may be tried again in'
            f" {wait:.3g} s.",
            wait,
        )


def retry_in(name: str, first: float, step: float) -> float:
    """Seconds after which a job that was refused comes back: a time of its own, `step` seconds
    behind that of the one before.
    """
    place = store().place(name, first, step)
    if place is None:
        return HORIZON + random.uniform(0, BEYOND)
    return max(place, SOONEST)


def name_of(kind: str, key: Any) -> str:
    """What a limit is called in the store."""
    if not isinstance(key, str) or not key:
        raise TypeError(f"A limit's key is a text that is not empty, not {key!r:.100}.")
    key = key.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")
    if len(key) > LONGEST_KEY:
        digest = hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()
        key = f"{key[: LONGEST_KEY - 41]}:{digest}"
    return f"{kind}:{key}"
