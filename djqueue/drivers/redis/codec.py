"""What the scripts are given, and what they answer.

Reading never fails: what is damaged reads as if it was not there.
"""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from djqueue.drivers.base import QueueCounts, Reservation, State, StoredJob
from djqueue.drivers.redis.keys import ORDER, decode_body

if TYPE_CHECKING:
    from collections.abc import Sequence

    from djqueue.drivers.base import Settlement

_PLACE = 2**42
"""What a rank is multiplied by in a score."""
_ID = rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
is_id = re.compile(_ID).fullmatch
_are_members = re.compile(rb"(?:.{%d}%b)*" % (ORDER, _ID), re.DOTALL).fullmatch
_FOREIGN = uuid.UUID("3f0b7c2e-98a4-5d5f-8a53-0d8f4d1be0c6")
"""The namespace of ids that are made for jobs whose own is none of ours."""


class Holder(NamedTuple):
    """What is kept about a reservation."""

    token: str
    attempt: int
    interruptions: int
    since: int
    score: float
    worker: bytes


def raw(id: str) -> bytes:
    """Return an id as it is in the store."""
    return id.encode("utf-8", "surrogateescape")


def are_members(members: Sequence[bytes]) -> bool:
    """Return whether each is an order and one of our own ids; one question for all."""
    return _are_members(b"".join(members)) is not None


def id_of(raw: bytes) -> str:
    """Return the id of a job; for a job of another program one that is made here."""
    if is_id(raw):
        return raw.decode()
    return str(uuid.uuid5(_FOREIGN, raw.hex()))


def handle_of(token: str, raw: bytes) -> str:
    """Return the handle of a reservation: its token, and its id in the store if that is no uuid."""
    return token if is_id(raw) else token + raw.decode("utf-8", "surrogateescape")


def key_of(reservation: Reservation) -> tuple[str | bytes, str]:
    """Return the id of a reserved job in the store, and its token."""
    handle: str = reservation.handle
    if handle[-1] == ":":
        return reservation.id, handle
    fence, session, id = handle.split(":", 2)
    return raw(id), f"{fence}:{session}:"


def decode_state(state: bytes | None) -> tuple[int, int, str]:
    """Return attempts, interruptions and history of a job that waits."""
    parts = state.split(b":", 3) if state is not None else ()
    if len(parts) != 4:
        return 0, 0, ""
    return _count(parts[0]), _count(parts[1]), parts[3].decode("utf-8", "surrogateescape")


def decode_holder(held: bytes) -> Holder:
    """Return what is known of a reservation."""
    parts = held.split(b":", 7)
    if len(parts) != 8:
        return Holder("", 1, 0, -1, -1.0, b"")
    fence, session, attempt, interruptions, since, _, score, worker = parts
    token = b"%b:%b:" % (fence, session)
    return Holder(
        token.decode("utf-8", "replace"),
        max(_count(attempt), 1),
        _count(interruptions),
        _number(since),
        _score(score),
        worker,
    )


def held(
    queue: str,
    ids: Sequence[bytes],
    bodies: Sequence[bytes | None],
    states: Sequence[bytes | None],
    holders: Sequence[bytes | None],
) -> list[Reservation]:
    """Return reservations that exist already, from what is stored about them."""
    found = []
    for id, body, state, one in zip(ids, bodies, states, holders, strict=True):
        if body is not None and one is not None:
            holder = decode_holder(one)
            name, payload = decode_body(body)
            _, _, history = decode_state(state)
            found.append(
                Reservation(
                    id_of(id),
                    queue,
                    name,
                    payload,
                    holder.attempt,
                    holder.interruptions,
                    history,
                    handle_of(holder.token, id),
                )
            )
    return found


def settle_arguments(settlements: Sequence[Settlement]) -> list[Any]:
    """Return the arguments of the settle script."""
    arguments: list[Any] = []
    for reservation, verdict, delay, charged, history in settlements:
        text = (history or "").encode("utf-8", "surrogateescape")
        id, token = key_of(reservation)
        arguments += (id, token, int(verdict), milliseconds(delay))
        arguments += (int(charged), int(history is not None), text)
    return arguments


def milliseconds(seconds: float) -> int:
    """Return milliseconds, rounded up: nothing may be early."""
    return -int(-seconds * 1000 // 1)


def counts(answer: Sequence[Any]) -> QueueCounts:
    """Return counts from the answer of the counts script."""
    in_line, due, delayed, reserved, oldest = answer
    return QueueCounts(in_line + due, delayed, reserved, _moment(_number(oldest)))


def describe(queue: str, now: int, rows: Sequence[Sequence[Any]]) -> list[StoredJob]:
    """Return stored jobs from the answer of the find script."""
    return [_describe(queue, now, _Row(*row)) for row in rows]


class _Row(NamedTuple):
    """What the script says of one job. None: it is not in that key."""

    id: bytes
    body: bytes
    state: bytes | None
    held: bytes | None
    place: bytes | None
    due: bytes | None
    deadline: bytes | None


def _describe(queue: str, now: int, row: _Row) -> StoredJob:
    id, body, state, held, place, due, deadline = row
    name, payload = decode_body(body)
    attempts, interruptions, history = decode_state(state)
    reserved_at = worker = None
    token = ""
    created = body[ORDER : ORDER + 13]
    available = _score(due)
    standing = State.DELAYED if available > now else State.WAITING
    if held is not None:
        holder = decode_holder(held)
        attempts, interruptions = holder.attempt, holder.interruptions
        reserved_at, available, worker = holder.since, holder.score % _PLACE, holder.worker
        token = holder.token
        standing = State.STUCK if _score(deadline) < now else State.RESERVED
    elif deadline is not None:  # its holder is gone, and the lease will be
        standing = State.STUCK if _score(deadline) < now else State.RESERVED
    elif place is not None:
        available = _score(place) % _PLACE
    return StoredJob(
        id=id.decode("utf-8", "surrogateescape"),
        queue=queue,
        name=name,
        payload=payload,
        state=standing,
        attempts=attempts,
        interruptions=interruptions,
        priority=100 - _number(body[:3]) if body[:3].isdigit() else 0,
        created_at=_moment(_number(created)),
        available_at=_moment(available),
        reserved_at=None if reserved_at is None else _moment(reserved_at),
        reserved_until=None if deadline is None else _moment(_score(deadline)),
        worker=worker.decode("utf-8", "replace") if worker else None,
        reservation=token,
        history=history,
        read_at=_moment(now),
    )


def _number(text: Any) -> int:
    """Return a whole number in digits; -1 for anything else."""
    return int(text) if isinstance(text, bytes) and text.isdigit() and len(text) < 17 else -1


def _count(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) < 10 else 0


def _score(text: bytes | None) -> float:
    """Return a score; -1 for none, or for one that stands for no time."""
    number = float(text) if text is not None else -1.0
    return number if abs(number) < 1e18 else -1.0


def _moment(milliseconds: float) -> datetime | None:
    """Return a time from milliseconds of the epoch; less than 0 stands for none."""
    if not 0 <= milliseconds < 253402300800000:  # the year 10000
        return None
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
