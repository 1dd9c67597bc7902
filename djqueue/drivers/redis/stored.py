"""Reading what the scripts answer."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from djqueue.drivers.base import QueueCounts, Reservation, State, StoredJob
from djqueue.drivers.redis.keys import ORDER, decode_body

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLACE = 2**42
"""What a rank is multiplied by in a score."""


def decode_state(state: bytes | None) -> tuple[int, int, str]:
    """Attempts, interruptions and history of a job that waits."""
    if state is None:
        return 0, 0, ""
    attempts, interruptions, _, history = state.split(b":", 3)
    return int(attempts), int(interruptions), history.decode("utf-8", "surrogateescape")


def holder(held: bytes) -> bytes:
    """The worker of a reservation."""
    return held.split(b":", 6)[6]


def held(
    queue: str,
    ids: Sequence[bytes],
    bodies: Sequence[bytes | None],
    states: Sequence[bytes | None],
    holders: Sequence[bytes | None],
) -> list[Reservation]:
    """Reservations that exist already, from what is stored about them."""
    found = []
    for id, body, state, one in zip(ids, bodies, states, holders, strict=True):
        if body is not None and one is not None:
            fence, attempt, interruptions, _ = one.split(b":", 3)
            name, payload = decode_body(body)
            _, _, history = decode_state(state)
            found.append(
                Reservation(
                    id.decode(),
                    queue,
                    name,
                    payload,
                    int(attempt),
                    int(interruptions),
                    history,
                    f"{fence.decode()}:",
                )
            )
    return found


def counts(answer: Sequence[Any]) -> QueueCounts:
    """From the answer of the counts script."""
    in_line, due, delayed, reserved, oldest = answer
    return QueueCounts(in_line + due, delayed, reserved, _moment(oldest))


def describe(queue: str, answer: Sequence[Any]) -> list[StoredJob]:
    """From the answer of the find script."""
    now, rows = answer
    return [_describe(queue, now, *row) for row in rows]


def _describe(
    queue: str,
    now: int,
    id: bytes,
    body: bytes,
    state: bytes | None,
    held: bytes | None,
    place: bytes | None,
    due: bytes | None,
    deadline: bytes | None,
) -> StoredJob:
    name, payload = decode_body(body)
    attempts, interruptions, _ = decode_state(state)
    reserved_at = worker = None
    available: float = float(due or 0)
    standing = State.DELAYED if available > now else State.WAITING
    if held is not None:
        _, attempt, interrupted, since, _, score, worker = held.split(b":", 6)
        attempts, interruptions = int(attempt), int(interrupted)
        reserved_at, available = since, float(score) % _PLACE
        standing = State.STUCK if float(deadline or 0) < now else State.RESERVED
    elif place is not None:
        available = float(place) % _PLACE
    return StoredJob(
        id=id.decode(),
        queue=queue,
        name=name,
        payload=payload,
        state=standing,
        attempts=attempts,
        interruptions=interruptions,
        priority=100 - int(body[:3]),
        created_at=_moment(body[ORDER : ORDER + 13]),
        available_at=_moment(available),
        reserved_at=_moment(reserved_at),
        reserved_until=_moment(deadline),
        worker=worker.partition(b"/")[2].decode() if worker else None,
    )


def _moment(milliseconds: bytes | float | None) -> datetime | None:
    """A time from milliseconds of the epoch; less than 0 stands for none."""
    if milliseconds is None or float(milliseconds) < 0:
        return None
    return datetime.fromtimestamp(float(milliseconds) / 1000, timezone.utc)
