"""What follows from an outcome, and in which order it is stored.

An end that nothing follows rides in the next `exchange`. A failure needs its row in the failed
jobs: where both live in one database, one transaction settles first and writes the row only for
what was still ours; elsewhere the row comes first, since a job must never be in neither place, and
is taken back under its number where the job turns out to be somebody else's.

What the database refuses for its content is no outage: it is stored in another form, or its job
waits, alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from django.db import DatabaseError, NotSupportedError, ProgrammingError, transaction

from djqueue.conf import settings
from djqueue.drivers.base import Reservation, Settlement, Verdict
from djqueue.drivers.database.doubt import is_refusal
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.finish import failed
from djqueue.finish.notices import HARD, Released
from djqueue.payload.packing import is_stored
from djqueue.payload.payload import limits_of
from djqueue.runner.atomic import was_committed
from djqueue.runner.decision import Action, Ending
from djqueue.runner.outcome import ErrorReport, Outcome

if TYPE_CHECKING:
    from djqueue.drivers.base import Session

logger = logging.getLogger("djqueue.worker")

T = TypeVar("T")


def ignore(released: Released) -> None:
    """Nobody is to be told: a worker without children dies with its jobs."""


class Failure(NamedTuple):
    """A job to be given up."""

    reservation: Reservation
    error: ErrorReport
    history: str
    unseen: bool = False
    """Its process did not live to tell how it ended."""


class NotRecordedError(QueueError):
    """The database of the failed jobs cannot be reached; what else there is can go on."""


class _RefusedError(Exception):
    """A database does not take a failed row as it is, or does not remove the job."""


class Ask(Protocol):
    """Asks a database something that is not about the jobs of the driver."""

    def __call__(self, alias: str, question: Callable[[], T], /) -> T:
        """The answer; `QueueUnavailable` where there is none."""


def ask_directly(alias: str, question: Callable[[], T]) -> T:
    """On this thread's own connection."""
    try:
        return question()
    except DatabaseError as error:
        if is_refusal(error):
            raise
        raise QueueUnavailable(f'Database "{alias}" did not do it: {error}') from error


class Finisher:
    """Collects what is over until it is stored. Nothing is forgotten before the store has it."""

    def __init__(
        self,
        session: Session,
        connection: str,
        given_up: Callable[[Reservation, ErrorReport], None],
        forget: Callable[[Sequence[str]], None],
        ask: Ask = ask_directly,
    ) -> None:
        self._session = session
        self._connection = connection
        self._given_up = given_up
        self._forget = forget
        self._ask = ask
        self.settlements: list[Settlement] = []
        """What the next exchange is to settle."""
        self.failures: list[Failure] = []
        self._unsaid: dict[str, Released] = {}
        self.released: Callable[[Released], None] = ignore
        """Called for an attempt that could say nothing itself, when its release is stored."""
        self._unanswered: set[str] = set()
        """Ids of settlements that were sent and not answered; they may have been carried out."""
        self._unconfirmed: set[str] = set()
        """Jobs that were told that they were lost, and then ended."""

    def add(self, reservation: Reservation, outcome: Outcome) -> None:
        """Take note of an attempt's end."""
        action = outcome.decision.action
        if outcome.settled:
            # A lost lease looks like a deletion: its arguments are somebody else's now.
            if outcome.ending is Ending.RETURNED and is_stored(reservation.payload):
                self._forget([reservation.id])
            if outcome.ending is Ending.LOST:
                logger.warning(_LOST, *_named(reservation))
            return
        if action is Action.DONE:
            self.settlements.append(outcome.settlement_of(reservation))
        elif action is Action.RETRY:
            if outcome.error is not None and outcome.error.place == HARD:
                self._unsaid[reservation.id] = Released(
                    reservation, outcome.error, outcome.decision.delay
                )
            self.settlements.append(outcome.settlement_of(reservation))
        elif action is Action.INTERRUPT:
            self.settlements.append(outcome.settlement_of(reservation))
        elif outcome.error is not None:  # a failure always has one
            history = outcome.history or reservation.history
            if not outcome.charged:  # this attempt was never begun
                reservation = reservation._replace(attempt=reservation.attempt - 1)
            unseen = outcome.ending in _UNSEEN
            self.failures.append(Failure(reservation, outcome.error, history, unseen))

    def add_unconfirmed(self, reservation: Reservation) -> None:
        """Take note of the end of a job that was told that its outcome would be ignored. Where the
        reservation is ours after all, nobody else runs it: it goes back, and is run again.
        """
        self._unconfirmed.add(reservation.id)
        self.settlements.append(Settlement(reservation, Verdict.INTERRUPTED))

    @property
    def waiting(self) -> list[Reservation]:
        """What is over and not stored; it is held as much as what still runs."""
        ended = [settlement.reservation for settlement in self.settlements]
        return ended + [failure.reservation for failure in self.failures]

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
        self._unanswered |= {settlement.reservation.id for settlement in settlements}

    def settled(self, settlements: Sequence[Settlement], lost: set[str]) -> None:
        """The store has answered."""
        if lost or self._unconfirmed:
            for settlement in settlements:
                self._tell_apart(settlement.reservation, lost)
        if self._unanswered:
            self._unanswered -= {settlement.reservation.id for settlement in settlements}
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

    def _tell_apart(self, reservation: Reservation, lost: set[str]) -> None:
        unconfirmed = reservation.id in self._unconfirmed
        self._unconfirmed.discard(reservation.id)
        if reservation.id in lost:
            self._lost(reservation)
        elif unconfirmed:
            logger.warning(_AGAIN, *_named(reservation))

    def told(self, reservation: Reservation) -> None:
        """A job knows that it was given up. Without a failed row nobody needs its arguments now."""
        if settings().failed_jobs is None and is_stored(reservation.payload):
            self._forget([reservation.id])

    def store_failures(self) -> None:
        """Write the failed rows and remove the jobs, then have them told. `QueueUnavailable` and
        `NotRecordedError` leave what is not stored to be tried again.
        """
        while self.failures:
            some = self.failures[:100]
            try:
                self._store(some)
            except _RefusedError:
                for _ in some:  # one of them is the reason, and the others shall not wait for it
                    self._store_alone(self.failures[0])
                    del self.failures[0]
            else:
                del self.failures[: len(some)]

    def _store_alone(self, failure: Failure) -> None:
        """As it is, in ASCII, shortened; else, or if the store keeps the job, that has to wait."""
        short = failure._replace(error=_shortened(failure.error), history="")
        why: BaseException | None = None
        for form, plain in ((failure, False), (failure, True), (short, True)):
            try:
                return self._store([form], plain=plain)
            except _RefusedError as refused:
                why = refused.__cause__
        reservation = failure.reservation
        logger.error(_NO_ROW, *_named(reservation), why, RETRY_ROW)
        self.settlements.append(
            Settlement(reservation, Verdict.RELEASE, RETRY_ROW, history=failure.history)
        )
        return None

    def _store(self, failures: Sequence[Failure], *, plain: bool = False) -> None:
        alias = settings().failed_jobs
        settlements = [Settlement(failure.reservation) for failure in failures]
        done: set[str] = set()
        if alias is None:
            lost = self._settle(settlements)
        elif self._session.joins(alias):
            lost = self._store_together(alias, failures, settlements, plain)
        else:
            done = self._done(failures)
            rows = [f for f in failures if f.reservation.id not in done]
            self._record_elsewhere(alias, rows, plain)
            try:
                lost = self._settle(settlements)
            except _RefusedError:
                self._take_back(alias, [failure.reservation for failure in rows])
                raise
            lost -= self._settled_before(lost)
            if lost:
                self._take_back(alias, [f.reservation for f in rows if f.reservation.id in lost])
        self._unanswered -= {failure.reservation.id for failure in failures}
        for failure in failures:
            if failure.reservation.id in lost:
                self._lost(failure.reservation)
            elif failure.reservation.id in done:
                logger.warning(_DONE, *_named(failure.reservation))
                if is_stored(failure.reservation.payload):
                    self._forget([failure.reservation.id])
            else:
                self._given_up(failure.reservation, failure.error)

    def _settle(self, settlements: Sequence[Settlement]) -> set[str]:
        try:
            return self._session.settle(settlements)
        except QueueUnavailable as error:
            if is_refusal(error):
                raise _RefusedError from error
            self._unanswered |= {settlement.reservation.id for settlement in settlements}
            raise

    def _store_together(
        self,
        alias: str,
        failures: Sequence[Failure],
        settlements: Sequence[Settlement],
        plain: bool,
    ) -> set[str]:
        """One transaction. A row under our own number says that it was committed before, and its
        answer did not arrive.
        """
        try:
            with transaction.atomic(using=alias):
                lost = self._settle(settlements)
                self._record([f for f in failures if f.reservation.id not in lost], plain)
                if lost:
                    gone = [f.reservation for f in failures if f.reservation.id in lost]
                    lost -= failed.recorded({r.id: self._session.fence(r) for r in gone})
        except DatabaseError as error:
            raise QueueUnavailable(f"Failed jobs could not be stored: {error}") from error
        return lost

    def _record_elsewhere(self, alias: str, failures: Sequence[Failure], plain: bool) -> None:
        def record() -> None:
            with transaction.atomic(using=alias):
                self._record(failures, plain)

        try:
            if failures:
                self._ask(alias, record)
        except (QueueUnavailable, DatabaseError) as error:
            raise NotRecordedError(f"Failed jobs could not be stored: {error}") from error

    def _record(self, failures: Sequence[Failure], plain: bool) -> None:
        jobs = [
            failed.GivenUp(f.reservation, f.error, f.history, self._session.fence(f.reservation))
            for f in failures
        ]
        try:
            failed.record(self._connection, jobs, plain=plain)
        except (DatabaseError, ValueError) as error:
            if _refuses(error):
                raise _RefusedError from error
            raise

    def _done(self, failures: Sequence[Failure]) -> set[str]:
        """Atomic jobs that had committed before their process died: they have not failed."""
        return {
            failure.reservation.id
            for failure in failures
            if failure.unseen and self._was_done(failure.reservation)
        }

    def _was_done(self, reservation: Reservation) -> bool:
        wanted = limits_of(reservation.payload).atomic
        if not wanted:
            return False
        alias = wanted if isinstance(wanted, str) else "default"
        try:
            return self._ask(
                alias, lambda: was_committed(wanted, self._connection, self._session, reservation)
            )
        except (QueueUnavailable, DatabaseError) as error:
            raise NotRecordedError(f"Failed jobs could not be stored: {error}") from error

    def _settled_before(self, lost: set[str]) -> set[str]:
        """Those that were removed by an earlier request whose answer did not arrive: what the store
        no longer has, nobody took over.
        """
        sent = lost & self._unanswered
        return self._session.gone(sorted(sent)) if sent else set()

    def _take_back(self, alias: str, reservations: Sequence[Reservation]) -> None:
        fences = {r.id: self._session.fence(r) for r in reservations}
        try:
            self._ask(alias, lambda: failed.take_back(fences))
        except (QueueUnavailable, DatabaseError) as error:
            raise NotRecordedError(f"Failed jobs could not be taken back: {error}") from error

    def _lost(self, reservation: Reservation) -> None:
        """Somebody else has the job, or an earlier try of ours was stored after all."""
        if reservation.id in self._unanswered:
            logger.info(_BEFORE, *_named(reservation))
        else:
            level = logging.INFO if limits_of(reservation.payload).atomic else logging.WARNING
            logger.log(level, _LOST, *_named(reservation))


def _named(reservation: Reservation) -> tuple[str, str, int]:
    return reservation.name, reservation.id, reservation.attempt


def _refuses(error: Exception) -> bool:
    """Whether the table of the failed jobs does not take a row, as opposed to a database that
    cannot be reached: for its content, or because it is not there, not ours to write, or full.
    """
    if isinstance(error, ProgrammingError | NotSupportedError):
        return True
    return is_refusal(error) or (bool(error.args) and error.args[0] in _MYSQL_FULL)


def _shortened(error: ErrorReport) -> ErrorReport:
    text = f"The database refused this error, of {len(error.message)} characters."
    return ErrorReport(error.class_name[:100], text, text, error.place[:100])


RETRY_ROW = 60.0
"""Seconds until a job is run again whose failed row could not be stored in any form."""
_MYSQL_FULL = (1114,)
_UNSEEN = (Ending.DIED, Ending.TIMED_OUT, Ending.INTERRUPTED, Ending.STOPPED)
_LOST = (
    "Lost %s %s (attempt %d): it was taken over, deleted or cancelled while it ran; its outcome was"
    " ignored."
)
_BEFORE = "%s %s (attempt %d): its outcome was stored before the connection broke, or is ignored."
_AGAIN = (
    "%s %s (attempt %d) runs again: while it ran it was told that it was lost, and its outcome was"
    " ignored."
)
_DONE = "%s %s (attempt %d) is done after all: its transaction was committed before it was stopped."
_NO_ROW = (
    "%s %s (attempt %d) has failed, and the database does not record it: %s The job runs again in"
    " %g s."
)
