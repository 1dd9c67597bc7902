"""Dealing with the store: settle what is over, reserve what is next, and outlive its absence."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from django.db import DatabaseError

from djqueue.drivers.base import Answer, Exchange, Reservation, Settlement, Verdict
from djqueue.drivers.database.doubt import is_refusal
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.finish.finish import Finisher, NotRecordedError
from djqueue.finish.notices import Failed, Released
from djqueue.runner.decision import Ending
from djqueue.runner.outcome import ErrorReport, Outcome
from djqueue.worker import clock
from djqueue.worker.chores import forget

if TYPE_CHECKING:
    from djqueue.worker.worker import Worker

logger = logging.getLogger("djqueue.worker")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""Seconds between tries while the store is away."""
_TO_CONNECT = 2.0
"""Seconds that PostgreSQL's client library takes to connect at least, where nobody answers."""
_LATE = 5.0
"""Seconds in which a server has carried out what it received before a connection broke."""


STORE_ERRORS = (QueueError, DatabaseError)
"""What a call to a store may raise while a worker runs. None of it is a reason to stop: a table
that is away for a migration and a permission that is missing for a minute come back like a server.
"""
_REFUSED = "The end of %s %s could not be stored: %s It is left to its lease."


class Asked(NamedTuple):
    """An exchange that was sent."""

    answer: Answer
    settlements: list[Settlement]
    room: int


class Exchanger:
    """What goes to the store and comes from it, and when."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.finish = Finisher(
            worker.session,
            worker.options.connection,
            self._given_up,
            self._forget,
            worker.sql.ask,
        )
        self.finish.released = self._released
        self._asked: Asked | None = None
        self.begun = 0
        """Jobs reserved and not given back unbegun."""
        self._ask_at = 0.0
        self._flush_at: float | None = None
        self.open_at = 0.0
        """Before this nobody asks the store anything: it gave no answer a moment ago."""
        self._failures_at = 0.0
        self._pause = 0.0
        self._looks_for_strays = 0
        self._strays_at = 0.0
        self._again = False
        """A settlement has put something in line: the next answer may be short without meaning
        that the queue is empty."""

    def run(self, now: float) -> None:
        """Settle what is over and reserve what is next, if it is time for either."""
        if not self.may_ask() or clock.now() >= self._worker.lease.over_at:
            return  # what is not ours any more is not to be settled either
        if self._looks_for_strays and now >= self._strays_at and not self.attempt(self._take_in):
            return
        room = self._worker.room(now) if now >= self._ask_at else 0
        due = self._flush_at is not None and now >= self._flush_at
        # What the store is told is told in a line first: a run that is repeated is explained then,
        # even if this process is killed in between.
        self._worker.report.flush()
        if self.finish.failures and now >= self._failures_at and not self._store_failures():
            return
        if room or (due and self.finish.settlements):
            self._exchange(room, now)
        elif due:
            self._flush_at = None  # what was over has been stored by now

    def _store_failures(self) -> bool:
        """Whether the store may be asked for more. A database of failed jobs that is away, beside a
        store that is there, keeps nothing else waiting.
        """
        try:
            self.finish.store_failures()
        except NotRecordedError as error:
            logger.info("%s", error)
            self._failures_at = max(self._worker.sql.open_at, clock.now() + _FIRST_PAUSE)
            return True
        except STORE_ERRORS as error:
            self.failed(error)
            return False
        self._came_back()
        return True

    def _exchange(self, room: int, now: float) -> None:
        settlements = self.finish.taken()
        self._flush_at = None
        queues = self._worker.schedule.open_queues() if room else ()
        session = self._worker.session
        try:
            answer = session.begin(settlements, queues, room)
            if answer is not None:
                self._asked = Asked(answer, settlements, room)
            else:
                self._take(session.exchange(settlements, queues, room), settlements, room, now)
        except STORE_ERRORS as error:
            self._broke_off(settlements, error)

    def hear(self, now: float) -> bool:
        """Take the answer that is awaited, if it is there; whether none is awaited any more."""
        asked = self._asked
        if asked is None:
            return True
        try:
            if now >= self._worker.lease.over_at:
                raise QueueUnavailable("The store gives no answer.")
            if not asked.answer.is_there():
                return False
            exchange = asked.answer.take()
        except STORE_ERRORS as error:
            self._asked = None
            self._broke_off(asked.settlements, error)
        else:
            self._asked = None
            self._take(exchange, asked.settlements, asked.room, now)
        return True

    def _take(
        self, exchange: Exchange, settlements: list[Settlement], room: int, now: float
    ) -> None:
        self._came_back()
        self.finish.settled(settlements, exchange.lost)
        self._expect(settlements)
        self.begun += len(exchange.reservations)
        if self._worker.lease.follow(now):
            self._worker.schedule.renew_in_time()
        self._worker.buffer.add(exchange.reservations)
        self._worker.hand_out(now)
        if room:
            self._answered(len(exchange.reservations), room, now)
        elif self._again:
            self.look_now()

    def _broke_off(self, settlements: list[Settlement], error: Exception) -> None:
        if settlements and is_refusal(error):
            self._settle_one_by_one(settlements)
        else:
            self.finish.broke_off(settlements)
            self.failed(error)

    def _settle_one_by_one(self, settlements: list[Settlement]) -> None:
        """The store refuses one of them for what it is; the others shall not wait for it."""
        session = self._worker.session
        for number, settlement in enumerate(settlements):
            try:
                self.finish.settled([settlement], session.settle([settlement]))
            except STORE_ERRORS as error:
                if not is_refusal(error):
                    self.finish.broke_off(settlements[number:])
                    return self.failed(error)
                reservation = settlement.reservation
                logger.error(_REFUSED, reservation.name, reservation.id, error)
        return self.look_now()

    def _answered(self, got: int, room: int, now: float) -> None:
        self._worker.idle.answered(got, now)
        if got == room or self._again:
            self._ask_at = now
        else:
            self._ask_at = self._worker.idle.next_poll(now)
            if not got:
                self._worker.nothing_there()
        self._again = False

    def _expect(self, settlements: list[Settlement]) -> None:
        """What has just gone back to its queue will call nobody."""
        for settlement in settlements:
            if settlement.verdict is not Verdict.REMOVE:
                if settlement.delay:
                    self._worker.schedule.promote_in(settlement.delay)
                else:
                    self._again = True

    def look_now(self) -> None:
        """Something may be there."""
        self._ask_at = 0.0

    def attempt(self, action: Callable[[], object]) -> bool:
        """Call the store; False, and a pause, if it cannot be reached."""
        try:
            action()
        except STORE_ERRORS as error:
            self.failed(error)
            return False
        return True

    def may_ask(self) -> bool:
        """Whether the store may be asked something now. One that was away is not waited for once
        more when the worker is about to end: to connect alone may take longer than is left.
        """
        now, end = clock.now(), self._worker.end_at
        if self._pause and end is not None and now > end - _TO_CONNECT:
            return False
        return now >= self.open_at

    def failed(self, error: Exception) -> None:
        """Leave the store alone for a while, ever longer, and close what may be broken."""
        if not self._pause:
            logger.warning("%s Trying again until it answers.", error)
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        self.open_at = clock.now() + self._pause
        self._looks_for_strays, self._strays_at = 2, 0.0
        self._worker.idle.close()
        away = error if isinstance(error, QueueUnavailable) else QueueUnavailable(str(error))
        self._worker.session.reset_connection(away)

    def _came_back(self) -> None:
        """It has written something. A store that is only read from may be locked, or a replica."""
        if self._pause:
            self._pause = 0.0
            self._worker.lease.next_at = 0.0  # say hello before anybody judges us
            self._worker.report.event("info", "The store answers again.")

    def _take_in(self) -> None:
        """Give back what the store holds for us in answers that never arrived.

        Twice: what was sent before the connection broke may be carried out after the first look.
        """
        known = [*self._worker.children.held(), *self._worker.buffer.jobs]
        known += self.finish.waiting
        strays = self._worker.session.unacknowledged(known)
        self._looks_for_strays -= 1
        self._strays_at = clock.now() + _LATE
        if strays:
            self.begun += len(strays)  # nobody has counted them
            self.give_back(strays)

    def give_back(self, reservations: list[Reservation]) -> None:
        """They were reserved and never begun."""
        self.begun -= len(reservations)
        self.finish.give_back(reservations)
        self.flush_soon()

    def flush_soon(self) -> None:
        """Something is over: store it at once, or with what will be over in a moment."""
        if self._flush_at is None:
            wait = self._worker.driver.FLUSH_AFTER if self._worker.children.busy else 0.0
            self._flush_at = clock.now() + wait

    def note(self, reservation: Reservation, outcome: Outcome) -> None:
        """An attempt is over: report it, and have it stored soon."""
        self.finish.add(reservation, outcome)
        self._worker.report.ended(reservation, outcome)
        self.flush_soon()

    def store_what_it_takes(self) -> None:
        """At the end of a worker that cannot go on: one try, whatever is wrong."""
        for action in (self.finish.store_failures, self._settle):
            try:
                action()
            except Exception:
                logger.exception("What was over could not be stored.")

    def _settle(self) -> None:
        if (asked := self._asked) is not None:
            self._asked = None
            self.finish.broke_off(asked.settlements)
            self._worker.session.reset_connection(QueueUnavailable("The worker ends."))
        settlements = self.finish.taken()
        try:
            self.finish.settled(settlements, self._worker.session.settle(settlements))
        except BaseException:
            self.finish.broke_off(settlements)
            raise

    def note_unconfirmed(self, reservation: Reservation, outcome: Outcome) -> None:
        """As `note`, of a job that was told that its outcome would be ignored."""
        self.finish.add_unconfirmed(reservation)
        self._worker.report.ended(reservation, outcome._replace(ending=Ending.LOST))
        self.flush_soon()

    def _given_up(self, reservation: Reservation, error: ErrorReport) -> None:
        """A failed row is safe: now the job may be told."""
        self._worker.buffer.notices.append(Failed(reservation, error))

    def _released(self, notice: Released) -> None:
        """The store knows that it will be tried again: now others may."""
        self._worker.buffer.notices.append(notice)

    def _forget(self, ids: Sequence[str]) -> None:
        """These jobs are over, and the payload store still has their arguments."""
        self._worker.buffer.notices.append(forget(ids))

    @property
    def unstored(self) -> int:
        """How many attempts are over without the store knowing it."""
        asked = self._asked.settlements if self._asked else []
        ended = [s for s in (*asked, *self.finish.settlements) if s.verdict is not Verdict.RETURN]
        return len(ended) + len(self.finish.failures)

    @property
    def nothing_left(self) -> bool:
        """Whether the store knows all that we know."""
        told = not (self.finish.settlements or self.finish.failures or self._worker.buffer.jobs)
        return told and self._asked is None

    @property
    def awaited(self) -> Answer | None:
        """The answer before which the store may not be asked anything."""
        return None if self._asked is None else self._asked.answer

    def deadlines(self, now: float) -> Iterator[float]:
        """When `run` has something to do."""
        if self._flush_at is not None:
            yield max(self._flush_at, self.open_at)
        if self.finish.failures:
            yield max(now, self.open_at, self._failures_at)
        if self._worker.buffer.jobs:
            yield max(now, self.open_at)
        if self._looks_for_strays:
            yield max(self._strays_at, self.open_at)
        if self._worker.room(now):
            yield max(self._ask_at, self.open_at)
