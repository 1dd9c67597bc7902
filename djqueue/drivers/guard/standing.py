"""What a guard row may say about a job that a store hands out."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, NamedTuple


class Found(NamedTuple):
    """A job that the store has just handed out."""

    id: str
    stored_as: str
    """The store's own id, the same each time it hands out this job, and of no other job."""


class Standing(enum.Enum):
    """What the guard row says about a job that was found."""

    READY = "ready"
    """It may run, under the new number."""
    ORPHANED = "orphaned"
    """Its holder is gone, and nobody saw how the attempt ended. It is ours, under a new number."""
    OURS = "ours"
    """We hold it already: the store gave it up and gave it back."""
    OVER = "over"
    """It has ended; only its removal from the store is missing."""
    BUSY = "busy"
    """Somebody holds it all the same, or its row is locked."""


class Guarded(NamedTuple):
    """A job's row, after `Guard.take`."""

    standing: Standing
    number: int = 1
    attempts: int = 1
    """This one included."""
    interruptions: int = 0
    history: str = ""


class Held(NamedTuple):
    """A reservation, as its row knows it."""

    id: str
    number: int


def standing_of(row: Mapping[str, Any], job: Found, ours: bool) -> Standing:
    """The standing of `job` by its row; `ours` if the row has the number that we hold."""
    if row["held_as"] != job.stored_as:
        return Standing.READY
    if row["ended"]:
        return Standing.OVER
    return Standing.OURS if ours else Standing.ORPHANED
