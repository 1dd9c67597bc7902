"""Ends from which something follows, and how they are stored together with that.

Where the jobs and what follows share a database, in one transaction. Elsewhere an end whose
followers can be undone (a failed row) is followed first and then settled; if the job turns out to
belong to another worker, its row is deleted again. A job that is bound to others is different: what
follows from it stands. Its store is asked first whose the job is, then what follows is written,
once for each push of the job, and then the job is removed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from django.db import DatabaseError, transaction

from djqueue.conf import settings
from djqueue.databases.errors import is_refusal
from djqueue.drivers.base import Reservation, Settlement, Verdict
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.finish.claims import claim
from djqueue.finish.follower import FailedRows, Follower
from djqueue.finish.ports import Ask, Push
from djqueue.finish.refusals import refuses, shortened
from djqueue.payload.payload import limits_of
from djqueue.runner.atomic import committed, database_of
from djqueue.runner.decision import DONE
from djqueue.runner.outcome import End, Outcome

if TYPE_CHECKING:
    from djqueue.drivers.base import Session
    from djqueue.finish.unanswered import Unanswered

logger = logging.getLogger("djqueue.worker")


class NotRecordedError(QueueError):
    """The database of what follows cannot be reached; what else there is can go on."""


class _RefusedError(Exception):
    """A database does not take a failed row as it is, or does not remove the job."""


class Stored(NamedTuple):
    """What came of a part of the ends."""

    ends: Sequence[End]
    """Those that are stored, and may be announced."""
    settlements: Sequence[Settlement] = ()
    """Of jobs whose end could not be stored: they run again later."""


class FollowedEnds:
    """Keeps such ends until they are stored."""

    def __init__(
        self,
        session: Session,
        connection: str,
        ask: Ask,
        push: Push,
        unanswered: Unanswered,
        followers: Sequence[Follower],
    ) -> None:
        """`followers` come after the failed rows, in this order, which is that of their locks."""
        self._session = session
        self._connection = connection
        self._ask = ask
        self._push = push
        self._rows = FailedRows(connection, session.fence)
        self._binding = followers
        """Those whose jobs are bound to others: what they write is never taken back."""
        self._followers = (self._rows, *followers)
        self.wants = [follower.wants for follower in self._followers]
        self.only_bound = all(follower.only_bound for follower in self._followers)
        self.waiting: list[End] = []
        self._unanswered = unanswered
        self._settled: set[str] = set()
        """Ids of ends that the store settled apart, until all rows beside theirs are right."""

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

    def store(self) -> Iterator[Stored]:
        """Settle the ends, and write what follows from them. `QueueUnavailable` and
        `NotRecordedError` leave what is not stored to be tried again.
        """
        while self.waiting:
            some = self.waiting[:AT_ONCE]
            try:
                stored = self._store(some)
            except _RefusedError:
                for _ in some:  # one of them is the reason, and the others shall not wait for it
                    alone = self._store_alone(self.waiting[0])
                    del self.waiting[0]
                    yield alone
            else:
                del self.waiting[: len(some)]
                yield stored

    def _store_alone(self, end: End) -> Stored:
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
        later = Settlement(end.reservation, Verdict.RELEASE, RETRY_ROW, history=outcome.history)
        return Stored((), [later])

    def _store(self, ends: Sequence[End]) -> Stored:
        alias = settings().shared_database
        found = self._committed_among(ends)
        ends = [found.get(end.id, end) for end in ends]
        if self._session.joins(alias):
            lost = self._store_together(alias, ends)
        else:
            bound: list[End] = []
            others: list[End] = []
            for end in ends:
                (bound if self._is_bound(end) else others).append(end)
            lost = self._store_bound(alias, bound) if bound else set()
            if others:
                lost |= self._store_apart(alias, others)
        for end in ends:
            if end.id in lost:
                self._unanswered.warn(end.reservation)
            elif end.id in found:
                logger.warning(_DONE, *_named(end.reservation))
        ids = [end.id for end in ends]
        self._unanswered.forget(ids)
        self._settled.difference_update(ids)
        return Stored([end for end in ends if end.id not in lost])

    @contextmanager
    def _refusals(self, ends: Sequence[End]) -> Iterator[None]:
        """Tell what is refused for its content from what is away, and may have been stored."""
        try:
            yield
        except QueueUnavailable as error:
            if is_refusal(error):
                raise _RefusedError from error
            self._unanswered.remember(end.id for end in ends)
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

    def _store_apart(self, alias: str, ends: Sequence[End]) -> set[str]:
        """What follows first, then the store."""
        rows = [end for end in ends if self._rows.wants(end)]

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
        lost -= self._settled | self._unanswered.removed(lost)
        self._take_back(alias, [end for end in rows if end.id in lost])
        return lost

    def _is_bound(self, end: End) -> bool:
        return any(follower.wants(end) for follower in self._binding)

    def _store_bound(self, alias: str, ends: Sequence[End]) -> set[str]:
        """The store is asked first whose the jobs are. Then what follows is written, once for each
        push of a job, and stands: the worker that gets such a job again only removes it.
        """
        lost = self._session.extend([end.reservation for end in ends])
        lost -= self._settled | self._unanswered.removed(lost)
        ours = [end for end in ends if end.id not in lost]

        def record() -> None:
            with transaction.atomic(using=alias), self._refusals(()):
                self.within(claim(self._session, alias, ours), alias)

        try:
            self._ask(alias, record)
        except (QueueUnavailable, DatabaseError) as error:
            raise NotRecordedError(f"What follows could not be stored: {error}") from error
        with self._refusals(ours):
            self._session.settle(_settlements(ours))
        return lost

    def _take_back(self, alias: str, ends: Sequence[End]) -> None:
        try:
            if ends:
                self._ask(alias, lambda: self._rows.take_back(ends))
        except (QueueUnavailable, DatabaseError) as error:
            raise NotRecordedError(f"Failed jobs could not be taken back: {error}") from error

    def _committed_among(self, ends: Sequence[End]) -> dict[str, End]:
        """Return the ends of atomic jobs that had committed before their processes died, as what
        they are, by id: these jobs have not failed.
        """
        found = {}
        for end in ends:
            if end.outcome.unseen and (outcome := self._committed(end.reservation)) is not None:
                ending, passed_on = outcome.ending, outcome.passed_on
                done = end.outcome._replace(ending=ending, decision=DONE, error=None)
                found[end.id] = end._replace(outcome=done._replace(passed_on=passed_on))
        return found

    def _committed(self, reservation: Reservation) -> Outcome | None:
        wanted = limits_of(reservation.payload).atomic
        if not wanted:
            return None
        alias = database_of(wanted, self._connection, self._session)
        if self._session.joins(alias) and alias == settings().shared_database:
            return None  # the store knows
        try:
            return self._ask(alias, lambda: committed(alias, self._session, reservation))
        except (QueueUnavailable, DatabaseError) as error:
            raise NotRecordedError(f"Failed jobs could not be stored: {error}") from error


def _settlements(ends: Sequence[End]) -> list[Settlement]:
    return [end.outcome.settlement_of(end.reservation) for end in ends]


def _named(reservation: Reservation) -> tuple[str, str, int]:
    return reservation.name, reservation.id, reservation.attempt


AT_ONCE = 100
"""Ends that one transaction stores."""
RETRY_ROW = 60.0
"""Seconds until a job is run again whose failed row could not be stored in any form."""
_DONE = "%s %s (attempt %d) is done after all: its transaction was committed before it was stopped."
_NO_ROW = (
    "%s %s (attempt %d) has failed, and the database does not record it: %s The job runs again in"
    " %g s."
)
