"""What is known of a job beside its body: from a guard row, or from beanstalkd's own numbers."""

from __future__ import annotations

import itertools
import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from djqueue.drivers.base import Reservation, Settlement, Verdict
from djqueue.drivers.beanstalkd import body, client
from djqueue.drivers.beanstalkd.body import Body
from djqueue.drivers.beanstalkd.client import Reply
from djqueue.drivers.guard import Found, Guard, Guarded, Held, Standing
from djqueue.errors import QueueUnavailable

logger = logging.getLogger("djqueue.worker")

MOST_REMEMBERED = 10_000


class Reserved(NamedTuple):
    """A job that this connection has reserved."""

    job: int
    tube: str
    body: Body


class Holding(NamedTuple):
    """A job that was handed out and not settled yet."""

    reservation: Reservation
    urgency: int
    since: float
    """When the server was last asked to hold it, on this machine's monotonic clock."""
    opening: int
    """The connection that holds it: see `Client.openings`."""

    @property
    def id(self) -> str:
        """The job's."""
        return self.reservation.id

    @property
    def number(self) -> int:
        """The fencing number."""
        return int(self.reservation.handle[1])

    @property
    def held(self) -> Held:
        """As guard rows know it."""
        return Held(self.id, self.number)


class Ledger(ABC):
    """Attempts, interruptions and history of jobs, and numbers that fence reservations."""

    def questions(self, reserved: Sequence[Reserved]) -> list[bytes]:
        """What has to be asked about each reserved job before `take`."""
        return []

    @abstractmethod
    def take(
        self, reserved: Sequence[Reserved], replies: Sequence[Reply], ours: Mapping[str, int]
    ) -> list[tuple[Guarded, int]]:
        """What is known about each, and its urgency."""

    def put_back(self, settlements: Sequence[tuple[Settlement, Holding]]) -> set[str]:
        """Keep what verdicts other than REMOVE say; the ids that were lost."""
        return set()

    def urgency(self, settlement: Settlement, holding: Holding) -> int:
        """The urgency of a job that goes back to its tube."""
        return holding.urgency

    def removed(self, holdings: Sequence[Holding]) -> None:
        """They are no longer in beanstalkd."""

    def cleared(self, ids: Sequence[str]) -> None:
        """Jobs that nobody held were deleted."""

    def ours(self, holdings: Sequence[Holding]) -> set[str]:
        """Those that nobody else has taken since, although beanstalkd gave them up."""
        return set()


class GuardedLedger(Ledger):
    """A row a job in `djqueue_runs`, from its first reservation to its end."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._removed: list[Held] = []

    def take(
        self, reserved: Sequence[Reserved], replies: Sequence[Reply], ours: Mapping[str, int]
    ) -> list[tuple[Guarded, int]]:
        found = [Found(each.body.id, str(each.job)) for each in reserved]
        known = self._guard.take(found, ours)
        urgencies = [body.urgency(each.body.priority) for each in reserved]
        return list(zip(known, urgencies, strict=True))

    def put_back(self, settlements: Sequence[tuple[Settlement, Holding]]) -> set[str]:
        return self._guard.put_back([(s, holding.number) for s, holding in settlements])

    def removed(self, holdings: Sequence[Holding]) -> None:
        """A row that could not be removed does no harm: it is tried again, and gets old."""
        self._removed += [holding.held for holding in holdings]
        if self._removed:
            try:
                self._guard.forget(self._removed)
            except QueueUnavailable:
                del self._removed[:-MOST_REMEMBERED]
            else:
                self._removed.clear()

    def cleared(self, ids: Sequence[str]) -> None:
        self._guard.forget_waiting(ids)

    def ours(self, holdings: Sequence[Holding]) -> set[str]:
        return self._guard.ours([holding.held for holding in holdings])


class PlainLedger(Ledger):
    """No SQL: the urgency counts attempts, and beanstalkd the reservations that nobody ended.

    Those count as attempts too, so that a job that kills its worker does not run for ever. There
    is no history, and no number that survives this process.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(secrets.randbits(60))

    def questions(self, reserved: Sequence[Reserved]) -> list[bytes]:
        return [client.stats_job(each.job) for each in reserved]

    def take(
        self, reserved: Sequence[Reserved], replies: Sequence[Reply], ours: Mapping[str, int]
    ) -> list[tuple[Guarded, int]]:
        return [
            self._one(each.body, reply.counters())
            for each, reply in zip(reserved, replies, strict=True)
        ]

    def _one(self, job: Body, counters: tuple[int, int, int] | None) -> tuple[Guarded, int]:
        if counters is None:  # its time was over before it could be asked about
            return Guarded(Standing.BUSY), 0
        urgency, reserves, releases = counters
        unseen = max(0, reserves - 1 - releases)
        attempts = 1 + body.attempts_used(urgency) + unseen
        if unseen:
            logger.warning(
                "RELEASED %s %s by beanstalkd itself, %d times so far: nobody saw how the attempt "
                "ended. This is attempt %d.",
                job.name,
                job.id,
                unseen,
                attempts,
            )
        return Guarded(Standing.READY, next(self._numbers), attempts), urgency

    def urgency(self, settlement: Settlement, holding: Holding) -> int:
        charged = settlement.verdict is Verdict.RELEASE and settlement.charged
        return body.later_attempt(holding.urgency) if charged else holding.urgency
