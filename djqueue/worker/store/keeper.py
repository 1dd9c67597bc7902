"""A thread that speaks to the store for a worker without children.

While a job runs in the main thread, another thread has to say that the worker lives. So the driver,
its connection and all that is stored belong to this thread; the main thread asks it, and runs jobs.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from django.db import DatabaseError, connections

from djqueue.drivers import clock
from djqueue.drivers.base import Reservation
from djqueue.errors import QueueError
from djqueue.worker.machine import resident
from djqueue.worker.store.lease import Lease
from djqueue.worker.store.presence import Activity, Presence
from djqueue.worker.store.sql import ParentSql

if TYPE_CHECKING:
    from djqueue.drivers.base import Driver, WorkerIdentity

logger = logging.getLogger("djqueue.worker")

T = TypeVar("T")
_AGAIN = 0.5
_LAST_WORDS = 5.0
"""Seconds in which the thread has to come to its end."""


class Keeper:
    """Answers one question at a time, and renews the lease of `held` in between."""

    def __init__(self, driver: Driver, identity: WorkerIdentity, connection: str) -> None:
        self._driver = driver
        driver.patience = driver.lease / 8
        self.session = driver.session(identity)
        self.sql = ParentSql(driver)
        alias = driver.settings.database if driver.shows_workers else None
        self._presence = Presence(self.sql, identity, connection, alias)
        self._shown_until = 0.0
        self.held: dict[str, Reservation] = {}
        """What was reserved and is not settled."""
        self.lease: Lease | None = None
        self._questions: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="djqueue-keeper", daemon=True)

    def start(self) -> None:
        """Join the store's workers. Raises the errors of that here."""
        self._thread.start()
        self.ask(self._join)

    def ask(self, question: Callable[[], T]) -> T:
        """Let the thread answer `question`, and wait for the answer."""
        future: Future[T] = Future()

        def answer() -> None:
            try:
                future.set_result(question())
            except BaseException as error:  # noqa: BLE001 - it is raised where it was asked
                future.set_exception(error)

        self._questions.put(answer)
        return future.result()

    def close(self) -> None:
        """Leave the store, if nothing is held any more."""
        if self._thread.is_alive():
            self._questions.put(self._leave)
            self._questions.put(None)
            self._thread.join(_LAST_WORDS)

    # -- in the thread -------------------------------------------------------------------------

    def _join(self) -> None:
        self.session.join()
        self.lease = Lease(self.session)

    def _leave(self) -> None:
        try:
            self._presence.leave()
            if self.lease and not self.held:
                self.session.leave()
            self._driver.close()
        except (QueueError, DatabaseError) as error:
            logger.warning("The worker could not say goodbye to the store: %s", error)

    def _run(self) -> None:
        try:
            while True:
                try:
                    question = self._questions.get(timeout=self._until_renewal())
                except queue.Empty:
                    self._renew()
                    continue
                if question is None:
                    return
                question()
        finally:
            connections.close_all()

    def _until_renewal(self) -> float | None:
        if self.lease is None:
            return None
        return max(self.lease.next_at - clock.now(), 0.001)

    def _renew(self) -> None:
        if self.lease is None:
            return
        try:
            lost = self.lease.renew(list(self.held.values()))
        except (QueueError, DatabaseError) as error:
            logger.warning("%s Trying again until it answers.", error)
            self.lease.next_at = clock.now() + _AGAIN
            return
        for id in lost:
            if (gone := self.held.pop(id, None)) is not None:
                logger.warning("%s %s was taken over while it runs here.", gone.name, gone.id)
        if clock.now() >= self._shown_until:
            running = [(each.id, each.name, 0.0) for each in list(self.held.values())]
            activity = Activity(running, resident(os.getpid()))
            self._shown_until = self._presence.renew(activity)
