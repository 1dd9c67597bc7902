"""The exchange with the store: settle what ended, reserve what is next, one round trip for both."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from djqueue.composition.finishing import finish_for
from djqueue.databases.errors import is_refusal
from djqueue.drivers.base import REMOVE, Answer, Exchange, Reservation, Settlement, Verdict
from djqueue.errors import QueueUnavailable
from djqueue.finish.deaths import NEVER_BEGUN
from djqueue.finish.followed import NotRecordedError
from djqueue.runner.outcome import End
from djqueue.worker.schedule import NEVER
from djqueue.worker.store.access import FIRST_PAUSE, STORE_ERRORS, StoreAccess
from djqueue.worker.store.progress import ProgressStore

if TYPE_CHECKING:
    from djqueue.worker.children.process import Process

logger = logging.getLogger("djqueue.worker")

_UNSTORED = "The ends of %s could not be stored: jobs whose end is not recorded run again."
_REFUSED = "The end of %s %s could not be stored: %s It runs again when its lease has expired."


class Got(NamedTuple):
    """The store was asked for jobs, and gave these."""

    jobs: list[Reservation]


class NothingThere(NamedTuple):
    """The store was asked for jobs, and has none for this worker."""


class Requeued(NamedTuple):
    """A job that this worker settled may be reserved again."""

    delay: float
    """Seconds until then."""


class Stored(NamedTuple):
    """The store knows how these attempts ended: now that may be announced."""

    ends: list[End]


class Followed(NamedTuple):
    """What follows from ends was stored, and pushed where it is for the worker's own store."""


class CameBack(NamedTuple):
    """The store answers again after an outage."""


Fact = Got | NothingThere | Requeued | Stored | Followed | CameBack


class Asked(NamedTuple):
    """An exchange that was sent."""

    answer: Answer
    settlements: list[Settlement]
    room: int


class Exchanger:
    """What goes to the store and comes from it, and when. Returns what the loop has to apply."""

    def __init__(self, store: StoreAccess, connection: str) -> None:
        self._store = store
        self.finish = finish_for(store.session, connection, store.sql.ask)
        self._progress = ProgressStore(store)
        self._asked: Asked | None = None
        self.begun = 0
        """Jobs that were reserved and not given back unbegun."""
        self._ask_at = 0.0
        self._flush_at: float | None = None
        self._gathered_at = 0.0
        """Until then ends from which something follows wait for others."""
        self._may_follow_at = 0.0
        """Not before then is it stored: its database is away."""
        self._in_line = False
        """A settlement has put something in line: the next answer may be short without meaning
        that the queue is empty."""
        self._facts: list[Fact] = []

    # -- exchanging ----------------------------------------------------------------------------

    def step(self, now: float, room: int, queues: Sequence[str], *, busy: bool) -> list[Fact]:
        """Settle ends, and reserve up to `room` jobs of `queues`, if it is time for either. While
        children are `busy`, an end waits a moment for others. After the end of the lease nothing is
        settled: others may have the jobs.
        """
        store = self._store
        if self._asked is None and store.may_ask() and store.now() < store.lease.ends_at:
            room = room if now >= self._ask_at else 0
            due = self._flush_at is not None and (now >= self._flush_at or not busy)
            may_follow = self.finish.followed and now >= self._follows_at(busy=busy)
            if not may_follow or self._store_followed():
                if room or (due and self.finish.settlements):
                    self._exchange(room, queues if room else (), now)
                elif due:
                    self._flush_at = None  # what had ended has been stored by now
        return self._news()

    def _follows_at(self, *, busy: bool) -> float:
        """Return when what follows from ends is stored. An end waits a moment for others."""
        return max(self._gathered_at, self._may_follow_at) if busy else self._may_follow_at

    def arrived(self, now: float) -> list[Fact]:
        """Take the answer to an exchange that was sent, if it has arrived."""
        if (asked := self._asked) is None:
            return []
        try:
            if now >= self._store.lease.ends_at:
                raise QueueUnavailable("The store gives no answer.")
            if not asked.answer.is_there():
                return []
            exchange = asked.answer.take()
        except STORE_ERRORS as error:
            self._asked = None
            self._broke_off(asked.settlements, error)
        else:
            self._asked = None
            self._take(exchange, asked.settlements, asked.room, now)
        return self._news()

    def _news(self) -> list[Fact]:
        facts, self._facts = self._facts, []
        if stored := self.finish.take_stored():
            self._store.note(stored)
            # What is to be announced keeps a worker from stopping because nothing is there.
            is_empty = bool(facts) and isinstance(facts[-1], NothingThere)
            facts.insert(len(facts) - is_empty, Stored(stored))
        return facts

    def _store_followed(self) -> bool:
        """Store the ends that something follows. Return whether the store may be asked for more. A
        database of failed jobs that is away does not hold up the rest if the store itself answers.
        """
        try:
            self.finish.store_followed()
        except NotRecordedError as error:
            logger.info("%s", error)
            self._may_follow_at = max(self._store.sql.open_at, self._store.now() + FIRST_PAUSE)
            return True
        except STORE_ERRORS as error:
            self._store.failed(error)
            return False
        self._store.push_followed()
        self._facts.append(Followed())
        self._answered()
        return True

    def _exchange(self, room: int, queues: Sequence[str], now: float) -> None:
        settlements = self.finish.taken()
        self._flush_at = None
        session = self._store.session
        try:
            answer = session.begin(settlements, queues, room)
            if answer is not None:
                self._asked = Asked(answer, settlements, room)
            else:
                self._take(session.exchange(settlements, queues, room), settlements, room, now)
        except STORE_ERRORS as error:
            self._broke_off(settlements, error)

    def _take(
        self, exchange: Exchange, settlements: list[Settlement], room: int, now: float
    ) -> None:
        self._answered()
        self.finish.settled(settlements, exchange.lost)
        self._note_requeued(settlements)
        self._store.lease.follow(now)
        got = len(exchange.reservations)
        jobs = self.finish.to_run(exchange.reservations)
        self.begun += len(jobs)
        self._facts.append(Got(jobs))
        if room:
            self._store.wakeup.note_result(got, now)
            if got == room or self._in_line:
                self._ask_at = now
            else:
                self._ask_at = self._store.wakeup.next_poll(now)
                if not got:
                    self._facts.append(NothingThere())
            self._in_line = False
        elif self._in_line:
            self.look_now()

    def _answered(self) -> None:
        if self._store.answered():
            self._facts.append(CameBack())

    def _note_requeued(self, settlements: list[Settlement]) -> None:
        """Look for jobs soon if one went back to its queue, as that wakes no worker."""
        for settlement in settlements:
            if settlement.verdict is not REMOVE:
                if settlement.delay:
                    self._facts.append(Requeued(settlement.delay))
                else:
                    self._in_line = True

    def _broke_off(self, settlements: list[Settlement], error: Exception) -> None:
        if settlements and is_refusal(error):
            self._settle_one_by_one(settlements)
        else:
            self.finish.broke_off(settlements)
            self._store.failed(error)

    def _settle_one_by_one(self, settlements: list[Settlement]) -> None:
        """Settle ends one by one after the store has refused one of them for its content; the
        others do not wait for it.
        """
        for number, settlement in enumerate(settlements):
            try:
                self.finish.settled([settlement], self._store.session.settle([settlement]))
            except STORE_ERRORS as error:
                if not is_refusal(error):
                    self.finish.broke_off(settlements[number:])
                    return self._store.failed(error)
                reservation = settlement.reservation
                self.finish.given_up(reservation.id)
                logger.error(_REFUSED, reservation.name, reservation.id, error)
        return self.look_now()

    # -- what it is given ------------------------------------------------------------------------

    def look_now(self) -> None:
        """Ask for jobs at the next step: something may be there."""
        self._ask_at = 0.0

    def add(self, ends: Iterable[End]) -> None:
        """Take ends of attempts, and have them stored soon."""
        waited = bool(self.finish.followed)
        self.finish.add(ends)
        self._flush_soon()
        if self.finish.followed and not waited:  # others may end in a moment: one commit for all
            self._gathered_at = self._store.now() + self._store.driver.FLUSH_AFTER

    def give_back(self, reservations: list[Reservation]) -> None:
        """Give back jobs that were reserved and never begun."""
        self.begun -= len(reservations)
        self.finish.give_back(reservations)
        self._flush_soon()

    def stopped(self, reservations: Iterable[Reservation]) -> list[End]:
        """Return the ends of jobs that an operator stopped before they were begun."""
        ends = [End(each, NEVER_BEGUN) for each in reservations]
        self.begun -= len(ends)
        return ends

    def take_in(self, reservations: list[Reservation]) -> None:
        """Give back the jobs that the store holds for this worker because of answers that never
        arrived.
        """
        self.begun += len(reservations)
        self.give_back(reservations)

    def _flush_soon(self) -> None:
        """Settle together with what will have ended in a moment."""
        if self._flush_at is None:
            self._flush_at = self._store.now() + self._store.driver.FLUSH_AFTER

    def store_progress(self, processes: Sequence[Process], now: float) -> None:
        """Store how far the jobs of children have come, unless an answer is on its way."""
        if self._asked is None:
            self._progress.look(processes, now)

    # -- at the end ------------------------------------------------------------------------------

    def store_what_it_takes(self) -> None:
        """Try once to store everything, at the end of a worker that cannot go on."""
        for action in (self.finish.store_followed, self._settle):
            try:
                action()
            except Exception:
                logger.exception("What was over could not be stored.")

    def _settle(self) -> None:
        if (asked := self._asked) is not None:
            self._asked = None
            self.finish.broke_off(asked.settlements)
            self._store.session.reset_connection(QueueUnavailable("The worker ends."))
        settlements = self.finish.taken()
        try:
            self.finish.settled(settlements, self._store.session.settle(settlements))
        except BaseException:
            self.finish.broke_off(settlements)
            raise

    # -- looking at it ---------------------------------------------------------------------------

    def warn_of_unstored(self) -> None:
        """Report the number of ended attempts of which the store does not know."""
        asked = self._asked.settlements if self._asked else []
        settlements = (*asked, *self.finish.settlements)
        ended = sum(1 for each in settlements if each.verdict is not Verdict.RETURN)
        if unstored := ended + len(self.finish.followed):
            what = "1 job" if unstored == 1 else f"{unstored} jobs"
            logger.warning(_UNSTORED, what)

    @property
    def is_done(self) -> bool:
        """Return whether the store knows how everything ended."""
        return self.finish.is_done and self._asked is None

    @property
    def awaited(self) -> Answer | None:
        """Return the exchange whose answer has to arrive before the store may be asked anything
        else.
        """
        return None if self._asked is None else self._asked.answer

    def due_at(self, now: float, room: int, *, busy: bool) -> float:
        """Return when `step` has something to do."""
        due = NEVER
        if self._flush_at is not None:
            due = self._flush_at if busy else now
        if self.finish.followed:
            due = min(due, max(now, self._follows_at(busy=busy)))
        if room:
            due = min(due, self._ask_at)
        return max(due, self._store.opens_at)
