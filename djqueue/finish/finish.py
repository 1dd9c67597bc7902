"""The one order in which an attempt ends: settled once, with what follows, and only then announced.

An end without followers is settled by the next exchange. An end with followers, such as a failure
with its row among the failed jobs, is settled together with what they write: in one transaction
where both share a database; elsewhere followers write first, so that a job is never in neither
place, and failed rows are deleted again if the job belongs to another worker.
`Finish.take_stored` returns the ends that may be announced: lines, signals, ``failed()``.

A worker's parent, one without children and a test call it; so does the child of an `atomic` job, as
the last act of its transaction (`Finish.within`).

What the database refuses for its content is not an outage: it is stored in another form, or its job
waits, alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import DatabaseError, transaction

from djqueue.conf import settings
from djqueue.databases.errors import is_refusal
from djqueue.drivers.base import Reservation, Settlement, Verdict
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.finish.follower import FailedRows, Follower
from djqueue.finish.ports import Ask, Push, ask_directly, refuse
from djqueue.finish.refusals import refuses, shortened
from djqueue.payload.payload import limits_of
from djqueue.runner.atomic import was_committed
from djqueue.runner.decision import DONE, LOST, Ending
from djqueue.runner.outcome import End

if TYPE_CHECKING:
    from djqueue.drivers.base import Session

logger = logging.getLogger("djqueue.worker")


class NotRecordedError(QueueError):
    """The database of what follows cannot be reached; what else there is can go on."""


class _RefusedError(Exception):
    """A database does not take a failed row as it is, or does not remove the job."""


class Finish:
    """Keeps ends until they are stored, and then until they are announced."""

    def __init__(
        self,
        session: Session,
        connection: str,
        ask: Ask = ask_directly,
        followers: Sequence[Follower] = (),
        push: Push = refuse,
    ) -> None:
        """`followers` come after the failed rows, in this order, which is that of their locks."""
        self._session = session
        self._connection = connection
        self._ask = ask
        self._push = push
        self._rows = FailedRows(connection, session.fence)
        self._followers = (self._rows, *followers)
        self._wants = [follower.wants for follower in self._followers]
        self.settlements: list[Settlement] = []
        """What the next exchange is to settle."""
        self._ends: dict[str, End] = {}
        """What those settlements are about, and those that were sent, by the jobs' ids."""
        self.followed: list[End] = []
        """Ends from which something follows."""
        self._stored: list[End] = []
        self._unanswered: set[str] = set()
        """Ids of settlements that were sent and not answered; they may have been carried out."""
        self._settled: set[str] = set()
        """Ids of ends that the store settled apart, until all rows beside theirs are right."""
        self._unconfirmed: set[str] = set()
        """Jobs whose reservations were reported lost, and that then ended."""

    def add(self, ends: Iterable[End]) -> None:
        """Keep the ends of attempts until they are stored."""
        for end in ends:
            outcome = end.outcome
            if outcome.settled or outcome.ending is LOST:
                self._add_ended_elsewhere(end)
            elif outcome.charged or outcome.repeats:
                self._add(end)
            else:  # it was never begun
                reservation = end.reservation
                before = reservation._replace(attempt=reservation.attempt - 1)
                self._add(end._replace(reservation=before))

    def _add(self, end: End) -> None:
        for wants in self._wants:
            if wants(end):
                self.followed.append(end)
                return
        reservation, outcome, _ = end
        self._ends[reservation.id] = end
        self.settlements.append(outcome.settlement_of(reservation))

    def _add_ended_elsewhere(self, end: End) -> None:
        """The job's own transaction has settled it, or its reservation was reported lost.

        An end that is `LOST` and not settled is that of a job that knew that its outcome would be
        ignored. It is settled as interrupted: if the reservation is still this worker's, the job
        returns to its queue and runs again.
        """
        reservation, outcome, _ = end
        if not outcome.settled:
            self._unconfirmed.add(reservation.id)
            self.settlements.append(Settlement(reservation, Verdict.INTERRUPTED))
        elif outcome.ending is LOST:
            logger.warning(_LOST, *_named(reservation))
        else:
            self._stored.append(end)

    def give_back(self, reservations: Sequence[Reservation]) -> None:
        """They were never begun."""
        self.settlements += [Settlement(r, Verdict.RETURN) for r in reservations]

    @property
    def session(self) -> Session:
        """Through which it settles."""
        return self._session

    @property
    def waiting(self) -> list[Reservation]:
        """What has ended and is not stored; it is held as much as what still runs."""
        ended = [settlement.reservation for settlement in self.settlements]
        return ended + [end.reservation for end in self.followed]

    @property
    def is_done(self) -> bool:
        """Whether it keeps nothing."""
        return not (self.settlements or self.followed or self._stored)

    def take_stored(self) -> list[End]:
        """The ends that were stored since the last call, to be announced."""
        stored, self._stored = self._stored, []
        return stored

    # -- what nothing follows ------------------------------------------------------------------

    def taken(self) -> list[Settlement]:
        """What to settle now. Handed back by `broke_off` when the store could not be reached."""
        settlements, self.settlements = self.settlements, []
        return settlements

    def broke_off(self, settlements: list[Settlement]) -> None:
        """The store could not be reached while it settled these, and may have settled them."""
        self.settlements = settlements + self.settlements
        self._unanswered |= {settlement.reservation.id for settlement in settlements}

    def given_up(self, id: str) -> None:
        """The store refuses to settle job `id`: it runs again when its lease has expired."""
        self._ends.pop(id, None)
        for known in (self._unanswered, self._unconfirmed):
            known.discard(id)

    def settled(self, settlements: Sequence[Settlement], lost: set[str]) -> None:
        """The store has answered."""
        if sent := lost & self._unanswered:
            lost = lost - self._removed_before(settlements, sent)
        if lost or self._unconfirmed:
            for settlement in settlements:
                self._settled_one(settlement.reservation, lost)
        else:
            pop = self._ends.pop
            found = [pop(settlement.reservation.id, None) for settlement in settlements]
            self._stored += [end for end in found if end is not None]
        if self._unanswered:
            self._unanswered -= {settlement.reservation.id for settlement in settlements}

    def _settled_one(self, reservation: Reservation, lost: set[str]) -> None:
        id = reservation.id
        end = self._ends.pop(id, None)
        if id in lost:
            self._unconfirmed.discard(id)
            self._lost(reservation)
        elif end is not None:
            self._stored.append(end)
        elif id in self._unconfirmed:
            self._unconfirmed.remove(id)
            logger.warning(_AGAIN, *_named(reservation))

    def _removed_before(self, settlements: Sequence[Settlement], sent: set[str]) -> set[str]:
        """The jobs among those `sent` before that ended for good then. None if the store is away
        again: they remain lost.
        """
        removals = {s.reservation.id for s in settlements if s.verdict is Verdict.REMOVE}
        try:
            return self._settled_before(removals & sent & self._ends.keys())
        except (QueueError, DatabaseError):
            return set()

    # -- what something follows ----------------------------------------------------------------

    def within(self, ends: Sequence[End], alias: str) -> set[str]:
        """End `ends` in the open transaction of `alias`: settle them, where their store is in it,
        and write what follows from those that were not lost. Returns the ids of those that were.
        """
        lost: set[str] = set()
        if self._session.joins(alias):
            lost = self._session.settle(_settlements(ends))
        left = [end for end in ends if end.id not in lost]
        for follower in self._followers:
            wanted = [end for end in left if follower.wants(end)]
            if wanted:
                self._push(alias, follower.within(wanted, alias))
        return lost

    def store_followed(self) -> None:
        """Settle the ends that something follows, and write that. `QueueUnavailable` and
        `NotRecordedError` leave what is not stored to be tried again.
        """
        while self.followed:
            some = self.followed[:AT_ONCE]
            try:
                self._store(some)
            except _RefusedError:
                for _ in some:  # one of them is the reason, and the others shall not wait for it
                    self._store_alone(self.followed[0])
                    del self.followed[0]
            else:
                del self.followed[: len(some)]

    def _store_alone(self, end: End) -> None:
        """As it is, in ASCII, shortened; else, or if the store keeps the job, that has to wait."""
        outcome = end.outcome
        plain = end._replace(plain=True)
        forms = [end, plain]
        if outcome.error is not None:
            short = outcome._replace(error=shortened(outcome.error), history="")
            forms.append(plain._replace(outcome=short))
        why: BaseException | None = None
        for form in forms:
            try:
                return self._store([form])
            except _RefusedError as refused:
                why = refused.__cause__
        logger.error(_NO_ROW, *_named(end.reservation), why, RETRY_ROW)
        self.settlements.append(
            Settlement(end.reservation, Verdict.RELEASE, RETRY_ROW, history=outcome.history)
        )
        return None

    def _store(self, ends: Sequence[End]) -> None:
        alias = settings().failed_jobs or "default"
        done: set[str] = set()
        if self._session.joins(alias):
            lost = self._store_together(alias, ends)
        else:
            done = {end.id for end in ends if end.outcome.unseen and self._was_done(end)}
            lost = self._store_apart(alias, ends, [end for end in ends if end.id not in done])
        for known in (self._unanswered, self._settled):
            known.difference_update(end.id for end in ends)
        for end in ends:
            if end.id in lost:
                self._lost(end.reservation)
            elif end.id in done:
                logger.warning(_DONE, *_named(end.reservation))
                outcome = end.outcome._replace(ending=Ending.RETURNED, decision=DONE, error=None)
                self._stored.append(end._replace(outcome=outcome))
            else:
                self._stored.append(end)

    @contextmanager
    def _refusals(self, ends: Sequence[End]) -> Iterator[None]:
        """Tell what is refused for its content from what is away, and may have been stored."""
        try:
            yield
        except QueueUnavailable as error:
            if is_refusal(error):
                raise _RefusedError from error
            self._unanswered |= {end.id for end in ends}
            raise
        except (DatabaseError, ValueError) as error:
            if refuses(error):
                raise _RefusedError from error
            raise

    def _store_together(self, alias: str, ends: Sequence[End]) -> set[str]:
        """One transaction. A row under our own number says that it was committed before, and its
        answer did not arrive.
        """
        try:
            with transaction.atomic(using=alias):
                with self._refusals(ends):
                    lost = self.within(ends, alias)
                if lost:
                    lost -= self._rows.recorded([end for end in ends if end.id in lost])
        except DatabaseError as error:
            raise QueueUnavailable(f"Failed jobs could not be stored: {error}") from error
        return lost

    def _store_apart(self, alias: str, ends: Sequence[End], rows: Sequence[End]) -> set[str]:
        """What follows first, then the store."""

        def record() -> None:
            with transaction.atomic(using=alias), self._refusals(()):
                self.within(rows, alias)

        try:
            if rows:
                self._ask(alias, record)
        except (QueueUnavailable, DatabaseError) as error:
            raise NotRecordedError(f"Failed jobs could not be stored: {error}") from error
        try:
            with self._refusals(ends):
                lost = self._session.settle(_settlements(ends))
        except _RefusedError:
            self._take_back(alias, rows)
            raise
        self._settled |= {end.id for end in ends} - lost
        lost -= self._settled | self._settled_before(lost)
        self._take_back(alias, [end for end in rows if end.id in lost])
        return lost

    def _take_back(self, alias: str, ends: Sequence[End]) -> None:
        try:
            if ends:
                self._ask(alias, lambda: self._rows.take_back(ends))
        except (QueueUnavailable, DatabaseError) as error:
            raise NotRecordedError(f"Failed jobs could not be taken back: {error}") from error

    def _was_done(self, end: End) -> bool:
        """Whether an atomic job had committed before its process died: it has not failed."""
        wanted = limits_of(end.reservation.payload).atomic
        if not wanted:
            return False
        alias = wanted if isinstance(wanted, str) else "default"
        try:
            return self._ask(
                alias,
                lambda: was_committed(wanted, self._connection, self._session, end.reservation),
            )
        except (QueueUnavailable, DatabaseError) as error:
            raise NotRecordedError(f"Failed jobs could not be stored: {error}") from error

    def _settled_before(self, lost: set[str]) -> set[str]:
        """Those that were removed by an earlier request whose answer did not arrive: what the store
        no longer has, was not taken over.
        """
        sent = lost & self._unanswered
        return self._session.gone(sorted(sent)) if sent else set()

    def _lost(self, reservation: Reservation) -> None:
        """Another worker has the job, or an earlier try of ours was stored after all."""
        if reservation.id in self._unanswered:
            logger.info(_BEFORE, *_named(reservation))
        else:
            level = logging.INFO if limits_of(reservation.payload).atomic else logging.WARNING
            logger.log(level, _LOST, *_named(reservation))


def _settlements(ends: Sequence[End]) -> list[Settlement]:
    return [end.outcome.settlement_of(end.reservation) for end in ends]


def _named(reservation: Reservation) -> tuple[str, str, int]:
    return reservation.name, reservation.id, reservation.attempt


AT_ONCE = 100
"""Ends that one transaction stores."""
RETRY_ROW = 60.0
"""Seconds until a job is run again whose failed row could not be stored in any form."""
_LOST = (
    "Lost %s %s (attempt %d): it was taken over, deleted or cancelled while it ran; its outcome was"
    " ignored."
)
_BEFORE = "%s %s (attempt %d): its outcome was stored before the connection broke, or is ignored."
_AGAIN = (
    "%s %s (attempt %d) runs again: its reservation was reported lost while it ran, and its outcome"
    " was ignored."
)
_DONE = "%s %s (attempt %d) is done after all: its transaction was committed before it was stopped."
_NO_ROW = (
    "%s %s (attempt %d) has failed, and the database does not record it: %s The job runs again in"
    " %g s."
)
