"""`throttle`: a limit of uses in any period."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from djqueue.limits.store import store
from djqueue.limits.values import Rate
from djqueue.limits.waiting import Guard, name_of

LONGEST = 366 * 86400.0


def rate(key: str, allow: Any, every: Any) -> Rate:
    """The rate of a throttle; ValueError for one that cannot work."""
    if isinstance(allow, bool) or not isinstance(allow, int) or not 1 <= allow < 2**31:
        raise ValueError(f"allow={allow!r} cannot work: it has to be a whole number, from 1 on.")
    seconds = every.total_seconds() if isinstance(every, timedelta) else every
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValueError(f"every={every!r} cannot work: it has to be seconds, or a timedelta.")
    if not math.isfinite(seconds) or not 0.001 <= seconds <= LONGEST:
        raise ValueError(f"every={every!r} cannot work: it has to be from a millisecond to a year.")
    return Rate(name_of("throttle", key), allow, float(seconds))


class throttle(Guard):  # noqa: N801 - what users call
    """Let at most `allow` pass in any period of `every` seconds; `LimitReached` for the others.

        with throttle("geocoder", allow=5, every=1):
            ...

    Never more, whatever processes ask at the same time. `block` is for how many seconds it waits
    before it raises. ``async with`` works as well.
    """

    worth_waiting = 0.1

    def __init__(self, key: str, allow: int, every: float | timedelta, block: float = 0) -> None:
        self._rate = rate(key, allow, every)
        super().__init__(self._rate, key, block)

    @classmethod
    def at(cls, rate: Rate) -> throttle:
        """The throttle of a rate that is checked already."""
        return cls(rate.name.partition(":")[2], rate.allow, rate.every)

    def _try(self) -> float | None:
        return store().take(self._rate)

    def _step(self, refused: float) -> float:
        return self._rate.every / self._rate.allow
