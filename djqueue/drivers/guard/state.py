"""What a guard row says about a job that a store hands out."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, NamedTuple


class Delivery(NamedTuple):
    """A job that the store has just handed out."""

    id: str
    stored_as: str
    """The store's own id: the same each time it hands out this copy of the job, and different for
    every other copy."""
    push_id: str = ""
    """As in `OutgoingJob.push_id`. A store may hold one push several times, under different ids: a
    push is repeated when its answer was lost."""

    @property
    def push(self) -> str:
        """The push as rows keep it: empty for the first push of the job."""
        return "" if self.push_id == self.id else self.push_id


class GuardState(enum.Enum):
    """What a worker may do with a job that the store has handed out, by its guard row."""

    READY = "ready"
    """Run it, under the new number."""
    ORPHANED = "orphaned"
    """Its worker is gone, and how that attempt ended is unknown. It is ours, under a new number."""
    OURS = "ours"
    """This worker holds it already: the store gave it back to its queue and handed it out again."""
    ENDED = "ended"
    """It has ended or was cancelled: only its removal from the store is missing."""
    BUSY = "busy"
    """A worker holds it or another copy of it, or its row is locked, or an earlier push of it has
    not ended. Look again later."""


class GuardRow(NamedTuple):
    """A job's row after `Guard.take`."""

    state: GuardState
    number: int = 1
    attempts: int = 1
    """This one included."""
    interruptions: int = 0
    history: str = ""
    held_as: str = ""
    """BUSY only: the store's own id of the copy that is held, where the row has one."""


class Claim(NamedTuple):
    """A job's id and the fencing number under which a worker holds it."""

    id: str
    number: int


def state_of(row: Mapping[str, Any], job: Delivery, *, ours: bool, alive: bool) -> GuardState:
    """Return the state of `job` by its row. `ours`: the row has the number that this worker holds.
    `alive`: the worker that holds the job cannot be gone.
    """
    if row["cancelled"] and not row["ended"]:
        return GuardState.ENDED
    if row["push_id"] != job.push:
        if _is_older(job.push, row["push_id"]):
            return GuardState.ENDED  # a copy of a push that ended before the row's was made
        return GuardState.READY if row["ended"] else GuardState.BUSY
    if row["ended"]:
        return GuardState.ENDED
    if not row["held_as"]:
        return GuardState.READY
    if row["held_as"] == job.stored_as and ours:
        return GuardState.OURS
    return GuardState.BUSY if ours or alive else GuardState.ORPHANED


def _is_older(push: str, other: str) -> bool:
    """Return whether `push` was certainly made before `other`, a push of the same job. The first
    push has no id, and version 7 UUIDs sort by the time at which they were made.
    """
    if not push or not other:
        return not push and bool(other)
    return push < other and push[14:15] == other[14:15] == "7"
