"""What the scripts are given, from what callers give the driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.drivers.redis.stored import key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from djqueue.drivers.base import Settlement


def settle_arguments(settlements: Sequence[Settlement]) -> list[Any]:
    """Arguments of the settle script."""
    arguments: list[Any] = []
    for reservation, verdict, delay, charged, history in settlements:
        text = (history or "").encode("utf-8", "surrogateescape")
        id, token = key_of(reservation)
        arguments += (id, token, int(verdict), milliseconds(delay))
        arguments += (int(charged), int(history is not None), text)
    return arguments


def milliseconds(seconds: float) -> int:
    """Rounded up: nothing may be early."""
    return -int(-seconds * 1000 // 1)
