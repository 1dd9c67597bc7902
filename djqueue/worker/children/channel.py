"""What parent and child say to each other.

Three one-way channels, beside the page that all processes of a worker share:

- **work** (parent → child): windows of jobs behind their length. They travel ahead.
- **tokens** (parent → child): eight bytes an item, the permission to begin it. The parent holds
  the reading end too: what it can read back was never begun, and what it cannot was. The kernel
  makes that exact, whatever dies when.
- **outcomes** (child → parent): one write an item. What is in the pipe survives the child.
"""

from __future__ import annotations

import json
import marshal
import os
import select
import signal
import struct
import typing
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from djqueue.drivers.base import Reservation
from djqueue.finish.notices import Cancelled, Done, Failed, Released, Succeeded
from djqueue.runner.decision import DONE, RETURNED, Action, Decision, Ending
from djqueue.runner.outcome import ErrorReport, Outcome
from djqueue.worker.notices import Notice, Upkeep, WorkerStarted, WorkerStopping

TOKEN = struct.Struct("<Q")
_LENGTH = struct.Struct("<I")
_OUTCOME = struct.Struct("<QBdII")
_PLAIN, _AWAITED, _FULL, _DELIVERED = 0xD1, 0xC4, 0xE2, 0xF3
"""Kinds, unlikely in what a job writes into this pipe by mistake."""
_LONGEST = 1 << 26
_PLAINEST = 2
"""The version of `marshal` that does not look for values that are there twice."""


class WorkItem(NamedTuple):
    """A job for a child to run."""

    number: int
    """Its place among all that this child was ever given; it only grows."""
    reservation: Reservation


class NoticeItem(NamedTuple):
    """A notice for a child to deliver."""

    number: int
    """As that of a `WorkItem`: they stand in one line."""
    notice: Notice


ChildReport = tuple[int, Outcome | None, int]
"""The number of an item, how it ended (None: a notice was delivered), and the bytes the child
occupies, where that is above ``--memory``."""


# -- windows --------------------------------------------------------------------------------------


def encode_window(items: Sequence[WorkItem]) -> bytes:
    """Return a window of jobs as it goes over the work channel."""
    return _framed([(number, *reservation) for number, reservation in items])


def encode_notice(note: NoticeItem) -> bytes:
    """Return a notice, in a window of its own."""
    number, notice = note
    if isinstance(notice, _Plain):
        return _framed((number, type(notice).__name__, *vars(notice).values()))
    if isinstance(notice, Succeeded):
        return _framed((number, "succeeded", *map(tuple, notice.jobs)))
    reservation, error, *rest = notice
    described = None if error is None else tuple(error)
    kind = "released" if isinstance(notice, Released) else "failed"
    return _framed((number, kind, tuple(reservation), described, *rest))


def _framed(value: Any) -> bytes:
    """Return `value` encoded, behind its length. `marshal` takes a quarter of JSON's time. It is
    safe here: both ends are the same interpreter, and the values are plain; payloads are texts.
    """
    body = marshal.dumps(value, _PLAINEST)
    return _LENGTH.pack(len(body)) + body


class WindowReader:
    """The child's end of the work channel. Blocks."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self) -> list[WorkItem | NoticeItem]:
        """Return the next window. Raises EOFError when the parent is gone."""
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        window = marshal.loads(self._exactly(length))  # noqa: S302 - our parent's
        if type(window) is tuple:
            return [_note(*window)]
        return [WorkItem(number, Reservation._make(fields)) for number, *fields in window]

    def _exactly(self, count: int) -> bytes:
        chunks = []
        while count:
            chunk = os.read(self._descriptor, min(count, 1 << 20))
            if not chunk:
                raise EOFError
            chunks.append(chunk)
            count -= len(chunk)
        return b"".join(chunks)


_Plain = WorkerStarted | WorkerStopping | Upkeep | Cancelled
_PLAIN_NOTICES: dict[str, Any] = {kind.__name__: kind for kind in typing.get_args(_Plain)}
"""Notices whose fields cross the channel as they are, by the names of their classes."""


def _note(number: int, kind: str, *fields: Any) -> NoticeItem:
    if kind in _PLAIN_NOTICES:
        return NoticeItem(number, _PLAIN_NOTICES[kind](*fields))
    if kind == "succeeded":
        return NoticeItem(number, Succeeded(tuple(map(Done._make, fields))))
    reservation, described, *rest = fields
    held = Reservation._make(reservation)
    if kind == "failed":
        return NoticeItem(number, Failed(held, ErrorReport._make(described), *rest))
    error = None if described is None else ErrorReport._make(described)
    return NoticeItem(number, Released(held, error, *rest))


# -- outcomes -------------------------------------------------------------------------------------


def encode_outcome(index: int, outcome: Outcome, memory: int = 0) -> bytes:
    """Return an outcome for the parent. A plain success is 25 bytes; any other has a JSON body, and
    a sum to check it by.
    """
    plain = outcome.ending is RETURNED and not (outcome.settled or outcome.spoilt)
    if plain and not memory and not outcome.passed_on:
        kind = _AWAITED if outcome.awaited else _PLAIN
        return _OUTCOME.pack(index, kind, outcome.duration, 0, 0)
    fields: dict[str, Any] = {
        "ending": outcome.ending.value,
        "action": outcome.decision.action.value,
        "delay": outcome.decision.delay,
        "error": outcome.error,
        "history": outcome.history,
        "settled": outcome.settled,
        "charged": outcome.charged,
        "spoilt": outcome.spoilt,
        "awaited": outcome.awaited,
        "memory": memory,
        "passed_on": dict(outcome.passed_on),
    }
    body = json.dumps(fields, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return _OUTCOME.pack(index, _FULL, outcome.duration, len(body), zlib.crc32(body)) + body


def encode_delivered(index: int) -> bytes:
    """Return the report that a notice was delivered."""
    return _OUTCOME.pack(index, _DELIVERED, 0.0, 0, 0)


def send_outcome(descriptor: int, data: bytes) -> None:
    """Write all of it. A signal, whose handler may be a job's, could cut in two what is larger than
    a pipe takes at once: so signals wait.
    """
    if len(data) <= select.PIPE_BUF:
        os.write(descriptor, data)
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class GarbledError(ValueError):
    """Something else than outcomes came: their order is lost, and with it what they are about."""


class OutcomeReader:
    """The parent's end. Fed with whatever bytes have arrived."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[ChildReport]:
        """Return the answers that are complete by now. A last answer that a dead child cut off
        never is. Raises `GarbledError` for anything else.
        """
        buffer = self._buffer + data if self._buffer else data
        position, end, head = 0, len(buffer), _OUTCOME.size
        while end - position >= head:
            index, kind, duration, length, checked = _OUTCOME.unpack_from(buffer, position)
            if kind not in (_PLAIN, _AWAITED, _FULL, _DELIVERED) or length > _LONGEST:
                raise GarbledError
            if end - position - head < length:
                break
            position += head
            if kind == _PLAIN:
                yield index, Outcome(RETURNED, DONE, duration=duration), 0
            elif kind == _AWAITED:
                yield index, Outcome(RETURNED, DONE, duration=duration, awaited=True), 0
            elif kind == _DELIVERED:
                yield index, None, 0
            else:
                body = buffer[position : position + length]
                if zlib.crc32(body) != checked:
                    raise GarbledError
                yield _full(index, duration, body)
            position += length
        self._buffer = buffer[position:]


def _full(index: int, duration: float, body: bytes) -> ChildReport:
    data = json.loads(body)
    outcome = Outcome(
        Ending(data["ending"]),
        Decision(Action(data["action"]), data["delay"]),
        ErrorReport(*data["error"]) if data["error"] else None,
        data["history"],
        data["settled"],
        data["charged"],
        duration,
        data["spoilt"],
        data["awaited"],
        passed_on=data["passed_on"],
    )
    return index, outcome, data["memory"]
