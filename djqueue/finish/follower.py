"""What follows when jobs end, in the transaction that ends them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from djqueue.conf import settings
from djqueue.drivers.base import OutgoingJob, Reservation
from djqueue.finish import failed
from djqueue.finish.failed import GivenUp
from djqueue.runner.decision import FAIL
from djqueue.runner.outcome import End


class Follower(Protocol):
    """Something that an end causes beside the removal of its job: a row, a count, another job."""

    only_bound: bool
    """Nothing follows from a job that is done, unless it is bound to others: has links in its
    payload. `wants` need not be asked then."""

    def wants(self, end: End) -> bool:
        """Return whether anything follows from `end`. Asked once for each end: no SQL."""

    def within(self, ends: Sequence[End], alias: str) -> list[tuple[str, OutgoingJob]]:
        """Write what follows from `ends`, in the open transaction of `alias`. Returns the jobs to
        push, each behind the name of its connection.
        """


class FailedRows:
    """The row among the failed jobs that follows from each failure."""

    only_bound = True

    def __init__(self, connection: str, fence: Callable[[Reservation], int]) -> None:
        self._connection = connection
        self._fence = fence

    def wants(self, end: End) -> bool:
        """Return whether it has failed, and failed jobs are kept."""
        return end.outcome.decision.action is FAIL.action and settings().failed_jobs is not None

    def within(self, ends: Sequence[End], alias: str) -> list[tuple[str, OutgoingJob]]:
        """Write all rows. Each replaces only a row of an earlier reservation of its job."""
        failed.record(self._connection, list(map(self._given_up, ends)))
        return []

    def recorded(self, ends: Sequence[End]) -> set[str]:
        """Return the ends whose row exists under their own number."""
        return failed.recorded({end.id: self._fence(end.reservation) for end in ends})

    def take_back(self, ends: Sequence[End]) -> None:
        """Delete the rows of ends that turned out to be another worker's."""
        failed.take_back({end.id: self._fence(end.reservation) for end in ends})

    def _given_up(self, end: End) -> GivenUp:
        reservation, outcome, plain = end
        assert outcome.error is not None  # noqa: S101 - a failure always has one
        history = reservation.history if outcome.history is None else outcome.history
        fence = self._fence(reservation)
        return GivenUp(reservation, outcome.error, history, fence, plain, outcome.duration)
