"""Limits and their holders as values, and the interface of what keeps their slots."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

__all__ = ["Holder", "Rate", "Room", "Store"]

HORIZON = 60.0
"""Seconds ahead up to which refused jobs are given a time of their own."""
BEYOND = 30.0
"""Seconds behind the horizon within which the other refused jobs come back, at random."""


class Rate(NamedTuple):
    """`allow` uses in any period of `every` seconds."""

    name: str
    allow: int
    every: float

    def __str__(self) -> str:
        return f"{self.allow} every {self.every:g} s"


class Room(NamedTuple):
    """Room for `limit` holders at once."""

    name: str
    limit: int

    def __str__(self) -> str:
        return f"{self.limit} at once"


class Holder(NamedTuple):
    """Who is in a room."""

    token: str
    """32 characters: those of the run, then those of this one holding."""
    life: float
    """Seconds after which it has left for certain."""
    job: str | None = None
    run: int = 0
    """Each run of a job has a larger number than the one before."""

    @property
    def prefix(self) -> str:
        """The beginning of every token of this run of the job."""
        return self.token[:16]


class Store(Protocol):
    """Every time is the store's own; callers pass durations. Each method is one step that cannot be
    half done. `QueueUnavailable` where the store is away.
    """

    def take(self, rate: Rate) -> float | None:
        """Use the limit once. None, or the seconds until that may be possible."""

    def look(self, rate: Rate) -> float:
        """The seconds until it may be used, and 0 where it may be now; nothing is used."""

    def used(self, rate: Rate) -> bool:
        """Whether it was used within its period."""

    def enter(self, room: Room, holder: Holder) -> float | None:
        """Hold a slot. None, or the seconds for which one is held on average."""

    def leave(self, room: Room, holder: Holder) -> None:
        """Give it back, unless another holder has it by now."""

    def leave_for(self, jobs: Iterable[tuple[str, int]], since: float = 0.0) -> None:
        """Give back what these runs of jobs, and earlier ones, hold for `since` seconds or more:
        their processes have been gone for that long.
        """

    def place(self, name: str, first: float, step: float) -> float | None:
        """Book the next free time for a job that was refused: at least `first` seconds from now,
        and `step` seconds behind the one before. In seconds; None beyond the `HORIZON`.
        """

    def clear(self, name: str) -> None:
        """Forget that it was ever used or held."""
