"""What follows from ends that are stored, for a process that may run the project's code: signal
receivers, storages and `failed()` are that. Not here: what a worker announces of itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from djqueue.conf import settings
from djqueue.drivers.base import Reservation
from djqueue.drivers.slices import slices
from djqueue.payload.packing import is_stored
from djqueue.payload.parts import context_text
from djqueue.runner.decision import DONE, TIMED_OUT, Action
from djqueue.runner.outcome import End, ErrorReport


class Done(NamedTuple):
    """A job that succeeded."""

    id: str
    name: str
    queue: str
    attempt: int
    duration: float
    """Seconds."""
    context: str = ""
    """The JSON of the context that it was dispatched with; empty without one."""


class Succeeded(NamedTuple):
    """Jobs are done, and their stores know it."""

    jobs: tuple[Done, ...]


class Failed(NamedTuple):
    """A job was given up, and its failed row is safe."""

    reservation: Reservation
    error: ErrorReport
    unseen: bool = False
    """The process that ran it could announce nothing itself."""


class Released(NamedTuple):
    """An attempt is followed by another."""

    reservation: Reservation
    error: ErrorReport | None
    delay: float
    unseen: bool = False


@dataclass(frozen=True)
class Cancelled:
    """A job was stopped by an operator."""

    id: str
    name: str
    queue: str
    attempt: int
    """The one that was stopped, or that would have been the next."""
    context: str
    """As that of `Done`."""


@dataclass(frozen=True)
class RemovePayloads:
    """Jobs have ended, and their large arguments can be removed from the payload store."""

    ids: tuple[str, ...]


@dataclass(frozen=True)
class FreeSlots:
    """A run has ended that could not give back by itself what it held of limits."""

    job: str
    run: int
    ended_at: float
    """When that was seen, by the monotonic clock: what the job has taken since then it keeps."""


Announcement = Succeeded | Failed | Released | Cancelled
Notice = Announcement | RemovePayloads | FreeSlots

AT_ONCE = 20
"""Successes that one notice announces: what its receivers do to their process ends all of it."""


def notices_of(ends: Iterable[End]) -> Iterator[Notice]:
    """Return what follows from `ends`, which are stored."""
    done: list[Done] = []
    useless: list[str] = []
    for reservation, outcome, _ in ends:
        action = outcome.decision.action
        is_done = action is DONE.action
        if not is_done and (outcome.unseen or outcome.ending is TIMED_OUT):
            run = reservation.attempt + reservation.interruptions
            yield FreeSlots(reservation.id, run, time.monotonic())
        if action is Action.CANCEL:
            id, queue, name, payload, attempt, *_ = reservation
            yield Cancelled(id, name, queue, attempt, context_text(payload))
        elif outcome.awaited:
            if is_done:
                id, queue, name, payload, attempt, *_ = reservation
                carried = context_text(payload)
                done.append(Done(id, name, queue, attempt, outcome.duration, carried))
            elif action is Action.RETRY:
                yield Released(reservation, outcome.error, outcome.decision.delay, outcome.unseen)
            elif action is Action.FAIL and outcome.error is not None:
                yield Failed(reservation, outcome.error, outcome.unseen)
                continue  # it may need its arguments
        if (is_done or _is_gone(action)) and is_stored(reservation.payload):
            useless.append(reservation.id)
    yield from (Succeeded(tuple(some)) for some in slices(done, AT_ONCE))
    if useless:
        yield RemovePayloads(tuple(useless))


def after(notice: object) -> Iterator[Notice]:
    """Return what follows from a delivered notice: without a failed row the arguments of a failed
    job are not needed any more.
    """
    if not isinstance(notice, Failed) or not _is_gone(Action.FAIL):
        return
    if is_stored(notice.reservation.payload):
        yield RemovePayloads((notice.reservation.id,))


def _is_gone(action: Action) -> bool:
    """Return whether nothing is kept of a job that was stopped, or that failed."""
    failed = action is Action.FAIL and settings().failed_jobs is None
    return failed or action is Action.CANCEL
