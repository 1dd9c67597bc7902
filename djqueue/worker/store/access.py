"""The store as a worker uses it: joined, with a lease, and left alone for a while when it fails."""

from __future__ import annotations

import logging
import os
import selectors
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from django.db import DatabaseError

from djqueue.conf import settings
from djqueue.dispatch import controls
from djqueue.dispatch.outbox import outbox
from djqueue.drivers import clock
from djqueue.drivers.base import Reservation, WorkerIdentity
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.worker.schedule import NEVER
from djqueue.worker.store import finished, statistics
from djqueue.worker.store.finished import FinishedJobs
from djqueue.worker.store.lease import Lease
from djqueue.worker.store.presence import Activity, Presence
from djqueue.worker.store.sql import ParentSql
from djqueue.worker.store.statistics import Statistics
from djqueue.worker.store.wakeup import StoreWakeup

if TYPE_CHECKING:
    from djqueue.drivers.base import Driver
    from djqueue.runner.outcome import End
    from djqueue.worker.options import WorkerOptions

logger = logging.getLogger("djqueue.worker")

T = TypeVar("T")
STORE_ERRORS = (QueueError, DatabaseError)
"""What a call to a store may raise while a worker runs. None of it is a reason to stop: a table
that is away for a migration and a permission that is missing for a minute come back like a server.
"""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between tries while the store is away."""
_TO_CONNECT = 2.0
"""Seconds that PostgreSQL's client library takes to connect at least, where nothing answers."""
_LATE = 5.0
"""Seconds in which a server has carried out what it received before a connection broke."""
_LOOKS = 2
"""Looks for unacknowledged jobs after an outage: what was sent before the connection broke may be
carried out after the first one."""


class StoreAccess:
    """The store's session, lease and wake-up of one worker, and when it may be asked."""

    lease: Lease
    wakeup: StoreWakeup
    """Both from `join` on."""

    def __init__(
        self,
        driver: Driver,
        options: WorkerOptions,
        selector: selectors.BaseSelector,
        now: clock.Clock = clock.now,
    ) -> None:
        self.now = now
        self.driver = driver
        self.sql = ParentSql(driver)
        identity = WorkerIdentity(
            options.name, socket.gethostname(), os.getpid(), options.queues, driver.lease
        )
        self.session = driver.session(identity)
        alias = driver.settings.database if driver.shows_workers else None
        self._presence = Presence(self.sql, identity, options.connection, alias)
        place = self.sql, options.connection
        self._statistics = Statistics(*place) if settings().statistics else None
        self._finished = FinishedJobs(*place) if settings().keep_done else None
        both = self._statistics, self._finished
        self._noting = [each for each in both if each is not None]
        self._options = options
        self._selector = selector
        self._patience = driver.patience = driver.lease / 8
        self._open_at = 0.0
        self._pause = 0.0
        self._ends_at = NEVER
        self._looks = 0
        self._look_at = 0.0

    @property
    def worker(self) -> str:
        """What names the worker in requests to it alone; empty while it has no row."""
        row = self.session.row or self._presence.row
        return "" if row is None else controls.worker_key(self._presence.alias, row)

    # -- joining -------------------------------------------------------------------------------

    def join(self) -> None:
        """Join the store's workers. Raises `QueueUnavailable` if the store is away."""
        self.session.join()
        self.lease = Lease(self.session, self.now)
        self.wakeup = StoreWakeup(self.session, self._options, self._selector, self.now)

    def leave(self, *, holds_nothing: bool) -> None:
        """Leave the store's workers, unless something is still held: then its lease brings it
        back.
        """
        try:
            self.wakeup.close()
            self._presence.leave()
            if holds_nothing:
                self.session.leave()
            self.write_statistics()
            self.write_finished()
        except STORE_ERRORS as error:
            logger.warning("The worker could not say goodbye to the store: %s", error)

    def be_brief(self, seconds: float, ends_at: float = NEVER) -> None:
        """Wait no longer than `seconds` for an answer; the worker ends at `ends_at`."""
        self.driver.patience = min(self._patience, seconds)
        self._ends_at = min(self._ends_at, ends_at)

    # -- asking --------------------------------------------------------------------------------

    @property
    def opens_at(self) -> float:
        """When the store may be asked something. A store that was away is not waited for again when
        the worker is about to end: to connect alone may take longer than is left.
        """
        if self._pause and self.now() > self._ends_at - _TO_CONNECT:
            return NEVER
        return self._open_at

    def may_ask(self) -> bool:
        """Whether the store may be asked something now."""
        return self.now() >= self.opens_at

    def ask(self, question: Callable[[], T]) -> T | None:
        """Return the answer to `question`. Return None, and pause, if the store cannot be
        reached.
        """
        try:
            return question()
        except STORE_ERRORS as error:
            self.failed(error)
            return None

    def failed(self, error: Exception) -> None:
        """Leave the store alone for a while, each time longer, and close what may be broken."""
        if not self._pause:
            logger.warning("%s Trying again until it answers.", error)
        self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        self._open_at = self.now() + self._pause
        self._looks, self._look_at = _LOOKS, 0.0
        self.wakeup.close()
        away = error if isinstance(error, QueueUnavailable) else QueueUnavailable(str(error))
        self.session.reset_connection(away)

    def answered(self) -> bool:
        """Note that the store has written something. Return whether it was away until now. A store
        that is only read from may be locked, or a replica.
        """
        was_away = self._pause > 0
        if was_away:
            self._pause = 0.0
            self.lease.next_at = 0.0  # a sign of life, before other workers take over our jobs
        return was_away

    # -- what a worker asks beside its exchanges -------------------------------------------------

    def renew(self, held: Sequence[Reservation]) -> set[str]:
        """Renew the lease, if it is time to. Return the ids among `held` that are lost."""
        if self.now() < self.lease.next_at or not self.may_ask():
            return set()
        return self.ask(lambda: self.lease.renew(held)) or set()

    @property
    def renew_at(self) -> float:
        """When to renew the lease."""
        return max(self.lease.next_at, self.opens_at)

    def recover(self, limit: int, *, late: float = 0.0) -> list[Reservation]:
        """Return up to `limit` jobs of dead workers: see `Session.recover`."""
        return self.ask(lambda: self.session.recover(limit, late=late)) or []

    @property
    def look_at(self) -> float:
        """When to look for unacknowledged jobs."""
        return max(self._look_at, self.opens_at) if self._looks else NEVER

    def unacknowledged(self, known: Sequence[Reservation]) -> list[Reservation]:
        """Return jobs, other than those `known`, that the store holds for this worker because of
        answers that never arrived.
        """
        if not self.may_ask():
            return []
        found = self.ask(lambda: self.session.unacknowledged(known))
        if found is not None:
            self._looks -= 1
            self._look_at = self.now() + _LATE
        return found or []

    def show(self, activity: Activity) -> float:
        """Write what this worker does into the row by which operators see it. Return when to do so
        again.
        """
        return self._presence.renew(activity)

    def write_statistics(self) -> float:
        """Write down what was counted since the last time. Return when to do so again."""
        return self._write(self._statistics, statistics.WRITE_EVERY)

    def write_finished(self) -> float:
        """Write down the jobs that were done since the last time, if they are to be listed. Return
        when to do so again.
        """
        return self._write(self._finished, finished.WRITE_EVERY)

    def _write(self, what: Statistics | FinishedJobs | None, every: float) -> float:
        if what is None:
            return NEVER
        if self.may_ask_sql(settings().job_database):
            what.write()
        return self.now() + every

    def note(self, ends: Sequence[End]) -> None:
        """Note ends, which are stored, for what is written now and then."""
        for each in self._noting:
            each.add(ends)

    # -- SQL beside the jobs ---------------------------------------------------------------------

    def may_ask_sql(self, alias: str) -> bool:
        """Return whether the database `alias` may be asked. If the store is in it, what holds for
        the store holds for it.
        """
        if self.driver.shares_transaction_with(alias):
            return self.may_ask()
        return self.now() >= self.sql.open_at

    def push_followed(self) -> None:
        """Push what has just been written into the outbox for this store because jobs have ended:
        children wait for it.
        """
        if not self.driver.shares_transaction_with(settings().shared_database) and outbox.in_use():
            self.replay_outbox()

    def replay_outbox(self) -> bool:
        """Push the jobs that are due in the outbox. Return whether there was one."""
        try:
            return bool(self.sql.ask_every(lambda: outbox.replay(driver=self.driver)))
        except (QueueUnavailable, DatabaseError) as error:
            logger.info("The outbox could not be read: %s", error)
            return False

    def others_need_replay(self) -> bool:
        """Return whether jobs in the outbox are late on their way to other stores."""
        own = self.driver.settings.name
        try:
            return bool(self.sql.ask_every(lambda: outbox.late(own)))
        except (QueueUnavailable, DatabaseError) as error:
            logger.info("The outbox could not be read: %s", error)
            return False
