"""What a child is told beside jobs to run: user code that has to follow, and the worker's chores.

The parent runs no code of the project, and signal receivers, storages and `failed()` are that.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from djqueue.drivers.base import Reservation
from djqueue.runner.outcome import ErrorReport

HARD = "hard"
"""The place in the report of an attempt that could say nothing itself: its process died."""


class ChoreKind(str, enum.Enum):
    """What a worker has done in a child although it is no job."""

    STARTED = "started"
    STOPPING = "stopping"
    FORGET = "forget"
    """Remove large arguments of jobs that are over."""
    PRUNE = "prune"
    """Remove large arguments that nobody needs, and rows that are too old."""
    REPLAY = "replay"
    """Move jobs from the outbox to other stores."""


class Chore(NamedTuple):
    """One of them."""

    kind: ChoreKind
    text: str = ""
    """The reason of STOPPING; the ids of FORGET, with blanks between them."""


class Failed(NamedTuple):
    """A job was given up, and its failed row is safe: now it may be told."""

    reservation: Reservation
    error: ErrorReport


class Released(NamedTuple):
    """An attempt that could say nothing itself, as its process died, is followed by another."""

    reservation: Reservation
    error: ErrorReport
    delay: float


Notice = Chore | Failed | Released


def what_it_is(notice: Notice) -> str:
    """For a line about it."""
    if isinstance(notice, Chore):
        return f"A chore ({notice.kind.value})"
    if isinstance(notice, Released):
        return f"A receiver of a signal about {notice.reservation.name}"
    return f"{notice.reservation.name}.failed()"
