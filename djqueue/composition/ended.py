"""The end of a job, or of a batch that is a step, for what it is bound to."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from djqueue.payload.links import Links, links_of

if TYPE_CHECKING:
    from djqueue.runner.outcome import PassedOn

__all__ = ["Ended", "How", "Turn"]

_NOTHING: PassedOn = {}


class Turn:
    """Where a batch that is a step of a chain stands."""

    WAITS = "waits"
    RUNS = "runs"
    FAILED = "failed"
    """The chain broke at it, and is taken up again when its failed members are retried. Without
    any of them left its turn has passed."""
    OVER = "over"


class How(enum.Enum):
    """How it ended."""

    DONE = enum.auto()
    """It succeeded, or was deleted or skipped: its chain goes on."""
    FAILED = enum.auto()
    """It was given up: its chain breaks."""
    GONE = enum.auto()
    """It was removed or cancelled: its chain ends."""


class Ended(NamedTuple):
    """One end."""

    links: Links
    how: How
    id: str
    previous: Mapping[str, Any] | None = None
    """What it leaves to the next step: its name and its value, as it is stored."""
    passed_on: PassedOn = _NOTHING
    """Of a job: the steps that it has added to its chain are among it."""
    for_good: bool = False
    """Of a batch that has failed: no failed member is left to be retried."""

    @classmethod
    def of(cls, payload: str, how: How, id: str) -> Ended:
        """Return the end of the job with this payload."""
        return cls(links_of(payload), how, id)
