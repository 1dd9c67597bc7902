"""What follows from an outcome, and in which order it is stored.

An end that nothing follows rides in the next `exchange`. A failure needs its row in the failed
jobs: where both live in one database, one transaction settles first and writes the row only for
what was still ours; elsewhere the row comes first, since a job must never be in neither place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from django.db import DatabaseError, transaction

from djqueue.bus import failed
from djqueue.conf import settings
from djqueue.decision import Action, Happened
from djqueue.drivers.base import Reservation, Settlement, Verdict
from djqueue.errors import QueueUnavailable
from djqueue.packing import is_stored
from djqueue.running.atomic import was_committed
from djqueue.running.outcome import ErrorReport, Outcome
from djqueue.worker.notices import HARD, Released
from djqueue.worker.postmortem import limits_of

if TYPE_CHECKING:
    from djqueue.drivers.base import Driver

logger = logging.getLogger("djqueue.worker")


def ignore(released: Released) -> None:
    """Nobody is to be told: a worker without children dies with its jobs."""


class Failure(NamedTuple):
    """A job to be given up."""

    reservation: Reservation
    error: ErrorReport
    history: str


class Finisher:
    """Collects what is over until it is stored. Nothing is forgotten before the store has it."""

    def __init__(
        self,
        driver: Driver,
        connection: str,
        given_up: Callable[[Reservation, ErrorReport], None],
        forget: Callable[[Sequence[str]], None],
    ) -> None:
        self._driver = driver
        self._connection = connection
        self._given_up = given_up
        self._forget = forget
        self.settlements: list[Settlement] = []
        """What the next exchange is to settle."""
        self.failures: list[Failure] = []
        self._unsaid: dict[str, Released] = {}
        self.released: Callable[[Released], None] = ignore
        """Called for an attempt that could say nothing itself, when its release is stored."""
        self.unsure = False
        """A store broke off: what it was told last may have been stored or not."""

    def add(self, reservation: Reservation, outcome: Outcome) -> None:
        """Take note of an attempt's end."""
        action = outcome.decision.action
        if outcome.settled:
            # A lost lease looks like a deletion: its arguments are somebody else's now.
            if outcome.happened is Happened.RETURNED and is_stored(reservation.payload):
                self._forget([reservation.id])
            if outcome.happened is Happened.LOST:
                logger.warning(_LOST, reservation.name, reservation.id, reservation.attempt)
            return
        if action is Action.DONE:
            self.settlements.append(Settlement(reservation))
        elif action is Action.RETRY:
            if outcome.error is not None and outcome.error.place == HARD:
                self._unsaid[reservation.id] = Released(
                    reservation, outcome.error, outcome.decision.delay
                )
            self.settlements.append(
                Settlement(
                    reservation,
                    Verdict.RELEASE,
                    outcome.decision.delay,
                    outcome.charged,
                    outcome.history,
                )
            )
        elif action is Action.INTERRUPT:
            self.settlements.append(
                Settlement(reservation, Verdict.INTERRUPTED, history=outcome.history)
            )
        elif outcome.error is not None:  # a failure always has one
            history = outcome.history or reservation.history
            if not outcome.charged:  # this attempt was never begun
                reservation = reservation._replace(attempt=reservation.attempt - 1)
            self.failures.append(Failure(reservation, outcome.error, history))

    def give_back(self, reservations: Sequence[Reservation]) -> None:
        """They were never begun."""
        self.settlements += [Settlement(r, Verdict.RETURN) for r in reservations]

    def taken(self) -> list[Settlement]:
        """What to settle now. Handed back by `broke_off` when the store could not be reached."""
        settlements, self.settlements = self.settlements, []
        return settlements

    def broke_off(self, settlements: list[Settlement]) -> None:
        """The store could not be reached while it settled these, and may have settled them."""
        self.settlements = settlements + self.settlements
        self.unsure = True

    def settled(self, settlements: Sequence[Settlement], lost: set[str]) -> None:
        """The store has answered."""
        for settlement in settlements if lost else ():
            if settlement.reservation.id in lost:
                self._lost(settlement.reservation)
        self.unsure = False
        for settlement in settlements if self._unsaid else ():
            unsaid = self._unsaid.pop(settlement.reservation.id, None)
            if unsaid is not None and settlement.reservation.id not in lost:
                self.released(unsaid)
        # A job that is over leaves nothing in the payload store. A failed one is not over yet.
        over = [
            settlement.reservation.id
            for settlement in settlements
            if is_stored(settlement.reservation.payload)
            and settlement.verdict is Verdict.REMOVE
            and settlement.reservation.id not in lost
        ]
        if over:
            self._forget(over)

    def told(self, reservation: Reservation) -> None:
        """A job knows that it was given up. Without a failed row nobody needs its arguments now."""
        if settings().failed_jobs is None and is_stored(reservation.payload):
            self._forget([reservation.id])

    def store_failures(self) -> None:
        """Write the failed rows and remove the jobs, then have them told. `QueueUnavailable`
        leaves everything to be tried again.
        """
        while self.failures:
            some = self.failures[:100]
            try:
                self._store(some)
            except DatabaseError as error:
                self.unsure = True
                raise QueueUnavailable(f"Failed jobs could not be stored: {error}") from error
            except QueueUnavailable:
                self.unsure = True
                raise
            del self.failures[: len(some)]

    def _store(self, failures: list[Failure]) -> None:
        settlements = [Settlement(failure.reservation) for failure in failures]
        failures = [failure for failure in failures if not self._was_committed(failure)]
        alias = settings().failed_jobs
        if alias is None:
            lost = self._driver.settle(settlements)
        elif self._driver.shares_transaction_with(alias):
            with transaction.atomic(using=alias):
                lost = self._driver.settle(settlements)
                self._record([f for f in failures if f.reservation.id not in lost])
                lost -= self._stored_before(lost)
        else:
            with transaction.atomic(using=alias):
                self._record(failures)
            lost = self._driver.settle(settlements)
            lost -= self._settled_before(lost)
            if lost:
                failed.take_back(
                    {r.id: self._driver.fence(r) for r, *_ in failures if r.id in lost}
                )
        for failure in failures:
            if failure.reservation.id in lost:
                self._lost(failure.reservation)
            else:
                self._given_up(failure.reservation, failure.error)

    def _stored_before(self, lost: set[str]) -> set[str]:
        """Those that we have given up already, in a commit whose answer did not arrive."""
        if not (lost and self.unsure):
            return set()
        rows = failed.table().filter(uuid__in=lost)
        return {str(uuid) for uuid in rows.values_list("uuid", flat=True)}

    def _settled_before(self, lost: set[str]) -> set[str]:
        """The same where the store is another one: what it no longer has, nobody took over."""
        if not (lost and self.unsure):
            return set()
        if self._driver.capabilities.find is not True:
            return lost  # rather failed and run elsewhere than in neither place
        return lost - {job.id for job in self._driver.find(sorted(lost))}

    def _was_committed(self, failure: Failure) -> bool:
        """Whether an atomic job was done after all, and only its process had no time to say so."""
        reservation = failure.reservation
        atomic = limits_of(reservation).atomic
        if not atomic or not was_committed(atomic, self._connection, self._driver, reservation):
            return False
        logger.warning(
            "%s %s (attempt %d) had committed before its process died: it is done, and not failed.",
            reservation.name,
            reservation.id,
            reservation.attempt,
        )
        if is_stored(reservation.payload):
            self._forget([reservation.id])
        return True

    def _record(self, failures: Sequence[Failure]) -> None:
        jobs = [failed.GivenUp(*each, self._driver.fence(each.reservation)) for each in failures]
        failed.record(self._connection, jobs)

    def _lost(self, reservation: Reservation) -> None:
        """Somebody else has the job, or an earlier try of ours was stored after all."""
        known = self.unsure or limits_of(reservation).atomic
        level = logging.INFO if known else logging.WARNING
        logger.log(level, _LOST, reservation.name, reservation.id, reservation.attempt)


_LOST = (
    "Lost %s %s (attempt %d): it was taken over, deleted or cancelled while it ran; its outcome was"
    " ignored."
)
