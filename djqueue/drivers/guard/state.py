"""What a guard row may say about a job that a store hands out."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, NamedTuple


class Found(NamedTuple):
    """A job that the store has just handed out."""

    id: str
    stored_as: str
    """The store's own id, the same each time it hands out this copy of the job, and of no other."""
    push_id: str = ""
    """As in `OutgoingJob.push_id`. A store may hold one push several times, under ids of its own:
    whoever pushed it did not see the answer, and pushed it again."""

    @property
    def push(self) -> str:
        """As rows keep it: empty for the first push of the job."""
        return "" if self.push_id == self.id else self.push_id


class Standing(enum.Enum):
    """What the guard row says about a job that was found."""

    READY = "ready"
    """It may run, under the new number."""
    ORPHANED = "orphaned"
    """Its holder is gone, and nobody saw how the attempt ended. It is ours, under a new number."""
    OURS = "ours"
    """We hold it already: the store gave it up and gave it back."""
    OVER = "over"
    """It has ended or was cancelled; only its removal from the store is missing."""
    BUSY = "busy"
    """A worker holds it, or another copy of it; or its row is locked; or an earlier push of it has
    not ended. To be looked at again in a while."""


class Guarded(NamedTuple):
    """A job's row, after `Guard.take`."""

    standing: Standing
    number: int = 1
    attempts: int = 1
    """This one included."""
    interruptions: int = 0
    history: str = ""
    held_as: str = ""
    """BUSY only: the store's own id of the copy that is held, where the row has one."""


class Held(NamedTuple):
    """A reservation, as its row knows it."""

    id: str
    number: int


def standing_of(row: Mapping[str, Any], job: Found, *, ours: bool, alive: bool) -> Standing:
    """The standing of `job` by its row; `ours` if the row has the number that we hold, `alive` if
    whoever holds it cannot be gone.
    """
    if row["cancelled"] and not row["ended"]:
        return Standing.OVER
    if row["push_id"] != job.push:
        if _is_older(job.push, row["push_id"]):
            return Standing.OVER  # a copy of a push that ended before this one was made
        return Standing.READY if row["ended"] else Standing.BUSY
    if row["ended"]:
        return Standing.OVER
    if not row["held_as"]:
        return Standing.READY
    if row["held_as"] == job.stored_as and ours:
        return Standing.OURS
    return Standing.BUSY if ours or alive else Standing.ORPHANED


def _is_older(push: str, other: str) -> bool:
    """Whether `push` was surely made before `other`, a push of the same job. The first one has no
    name, and version 7 UUIDs sort by the moment they were made.
    """
    if not push or not other:
        return not push and bool(other)
    return push < other and push[14:15] == other[14:15] == "7"
