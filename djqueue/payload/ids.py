"""The moment of a dispatch, and ids that sort by it."""

from __future__ import annotations

import os
from time import time_ns
from uuid import UUID, uuid5

from djqueue.errors import QueueError

__all__ = ["Moment", "check_id", "new_id", "new_push_id", "push_id_for"]

_VARIANT = {f"{digit:x}": "89ab"[digit % 4] for digit in range(16)}
"""The digit of a UUID with its variant and two random bits, by a random digit."""


class Moment:
    """The moment at which one or several jobs are dispatched."""

    def __init__(self, nanoseconds: int) -> None:
        self._nanoseconds = nanoseconds
        self.seconds = nanoseconds / 1_000_000_000
        """Seconds since the epoch, by the dispatcher's clock."""
        self.text = repr(self.seconds)
        """`seconds` as JSON."""

    def ids(self, count: int) -> list[str]:
        """Return version 7 UUIDs in ascending order. They begin with the moment, to a quarter of a
        microsecond, which keeps a store's index on them compact; 62 bits are random.
        """
        ticks = self._nanoseconds * 4096 // 1_000_000
        random = os.urandom(8 * count).hex()
        return [_uuid(f"{ticks + i:015x}", random[16 * i : 16 * i + 16]) for i in range(count)]


def _uuid(time: str, random: str) -> str:
    variant = _VARIANT[random[0]]
    return f"{time[:8]}-{time[8:12]}-7{time[12:]}-{variant}{random[1:4]}-{random[4:]}"


def new_id() -> str:
    """Return an id of this moment."""
    return Moment(time_ns()).ids(1)[0]


def new_push_id() -> str:
    """Return an id for pushing a job again. Later ids sort after it."""
    return new_id()


def push_id_for(job: UUID, named_after: str) -> str:
    """Derive the push id of one job from the push id of several. It sorts like that one."""
    return named_after[:19] + str(uuid5(job, named_after))[19:]


def check_id(value: object) -> str:
    """Return `value` as stores keep ids. Raises `QueueError` if it is not a UUID."""
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise QueueError(
            f"{value!r:.100} is not the id of a dispatched job: that is a UUID, as in "
            "dispatch().id."
        ) from None
