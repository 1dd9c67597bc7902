"""Answers that cost much, kept for a moment: pages that are open ask for them again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Kept"]

T = TypeVar("T")


class Kept(Generic[T]):
    """The last answer of this process. Those who ask at the same time wait for one answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: tuple[object, float, T] | None = None
        """What the answer depends on, when it was there, and the answer."""

    def get(self, key: object, seconds: float, ask: Callable[[], T]) -> T:
        """Return the answer for `key` if it is no older than `seconds`; else `ask`. Only the answer
        for one key is kept.
        """
        with self._lock:
            now = time.monotonic()
            if self._last is not None and self._last[0] == key and now - self._last[1] < seconds:
                return self._last[2]
            answer = ask()
            self._last = (key, time.monotonic(), answer)
            return answer
