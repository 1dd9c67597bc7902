"""What a child gets besides jobs to run: user code that has to follow, and the worker's chores.

The parent runs no code of the project, and signal receivers, storages and `failed()` are that.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from djqueue.conf import settings
from djqueue.drivers.base import Reservation
from djqueue.drivers.slices import slices
from djqueue.payload.packing import is_stored
from djqueue.runner.decision import DONE, Action
from djqueue.runner.outcome import End, ErrorReport


class ChoreKind(str, enum.Enum):
    """What a worker has done in a child although it is no job."""

    STARTED = "started"
    STOPPING = "stopping"
    FORGET = "forget"
    """Remove large arguments of jobs that have ended."""
    PRUNE = "prune"
    """Remove large arguments that are not needed, and rows that are too old."""
    REPLAY = "replay"
    """Move jobs from the outbox to other stores."""


class Chore(NamedTuple):
    """One of them."""

    kind: ChoreKind
    text: str = ""
    """The reason of STOPPING; the ids of FORGET, with blanks between them."""


class Done(NamedTuple):
    """A job that succeeded."""

    id: str
    name: str
    queue: str
    attempt: int
    duration: float
    """Seconds."""


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


Announcement = Succeeded | Failed | Released
Notice = Chore | Announcement

AT_ONCE = 20
"""Successes that one notice announces: what its receivers do to their process ends all of it."""


def notices_of(ends: Iterable[End]) -> Iterator[Notice]:
    """What follows from ends that are stored, for a process that may run the project's code."""
    done: list[Done] = []
    useless: list[str] = []
    for reservation, outcome, _ in ends:
        action = outcome.decision.action
        is_done = action is DONE.action
        if outcome.awaited:
            if is_done:
                id, queue, name, _, attempt, *_ = reservation
                done.append(Done(id, name, queue, attempt, outcome.duration))
            elif action is Action.RETRY:
                yield Released(reservation, outcome.error, outcome.decision.delay, outcome.unseen)
            elif action is Action.FAIL and outcome.error is not None:
                yield Failed(reservation, outcome.error, outcome.unseen)
                continue  # it may need its arguments
        if (is_done or _is_gone(action)) and is_stored(reservation.payload):
            useless.append(reservation.id)
    yield from (Succeeded(tuple(some)) for some in slices(done, AT_ONCE))
    if useless:
        yield forget(useless)


def after(notice: Notice) -> Iterator[Notice]:
    """What follows when a notice was delivered: without a failed row the arguments of a job that
    was given up are of no use any more.
    """
    if not isinstance(notice, Failed) or not _is_gone(Action.FAIL):
        return
    if is_stored(notice.reservation.payload):
        yield forget([notice.reservation.id])


def forget(ids: Sequence[str]) -> Chore:
    """The chore of removing what the payload store has under `ids`."""
    return Chore(ChoreKind.FORGET, " ".join(ids))


def _is_gone(action: Action) -> bool:
    """Whether nothing is kept of a job that failed."""
    return action is Action.FAIL and settings().failed_jobs is None


def what_it_is(notice: Notice) -> str:
    """For a line about it."""
    if isinstance(notice, Chore):
        return f"A chore ({notice.kind.value})"
    if isinstance(notice, Succeeded):
        return f"A receiver of a signal about {notice.jobs[0].name}"
    if isinstance(notice, Released):
        return f"A receiver of a signal about {notice.reservation.name}"
    return f"{notice.reservation.name}.failed()"
