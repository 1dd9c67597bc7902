"""What a worker asks of the jobs table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.db import DatabaseError

from djqueue.databases.errors import is_refusal
from djqueue.drivers import unique_keys
from djqueue.drivers.base import (
    REMOVE,
    Answer,
    Exchange,
    Promotion,
    Reservation,
    Session,
    Settlement,
    Wakeup,
    WorkerIdentity,
)
from djqueue.drivers.database import workers
from djqueue.drivers.database.calls import Calls, TranslatedAnswer, TranslatedWakeup
from djqueue.drivers.database.rows import jobs
from djqueue.drivers.database.vendors.dialect import Dialect, Holder
from djqueue.drivers.store_clock import StoreClock

if TYPE_CHECKING:
    from djqueue.conf import ConnectionSettings
    from djqueue.errors import QueueUnavailable

logger = logging.getLogger("djqueue")

LONGEST_LEASE = 20.0
NO_WORKER = 0
"""Holder of reservations of no worker: in tests, in this process. No worker has this key, so only
the reservation's own time brings such a job back."""


def lease_of(settings: ConnectionSettings) -> float:
    """Return the lease, which may be short: a worker's row costs one small write to renew."""
    return min(settings.retry_after, LONGEST_LEASE)


class DatabaseSession(Session):
    """Holds jobs under the key of the worker's row, which is the lease of all of them."""

    def __init__(
        self, calls: Calls, settings: ConnectionSettings, worker: WorkerIdentity | None
    ) -> None:
        self._calls = calls
        self._settings = settings
        self._worker = worker
        self._holder = Holder(NO_WORKER, settings.retry_after)
        self._clock = StoreClock(self.lease)

    @property
    def _dialect(self) -> Dialect:
        return self._calls.dialect

    def join(self) -> None:
        """Make this thread's connection of the alias the worker's own from now on."""
        worker = self._worker
        if worker is None:
            return
        option = self._settings.option
        with self._calls.translate_errors():
            self._calls.own(wal=bool(option("WAL")), prepare=bool(option("PREPARE")))
            key = workers.insert(self._dialect, worker, self._settings.name)
            self._clock = StoreClock(worker.lease)
            workers.look_at(self._clock, self._dialect)
        self._calls.has_worker = True
        self._holder = Holder(key, self._settings.retry_after)

    @property
    def row(self) -> int | None:
        return self._holder.worker or None

    def leave(self) -> None:
        with self._calls.translate_errors():
            workers.delete(self._dialect, self._holder.worker)

    @property
    def lease(self) -> float:
        return lease_of(self._settings)

    def joins(self, alias: str) -> bool:
        return alias == self._calls.alias

    def reset_connection(self, error: QueueUnavailable) -> None:
        self._calls.close()

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        removals = [s for s in settlements if s.verdict is REMOVE]
        with self._calls.translate_errors():
            lost: set[str] = set()
            if len(removals) < len(settlements):
                back = [s for s in settlements if s.verdict is not REMOVE]
                lost = self._put_back(sorted(back, key=lambda s: s.reservation.handle))
            done = self._dialect.exchange(removals, queues, limit, self._holder)
        return Exchange(done.lost | lost, done.reservations) if lost else done

    def begin(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Answer | None:
        """Begin an exchange that puts nothing back: that takes several statements."""
        if any(settlement.verdict is not REMOVE for settlement in settlements):
            return None
        with self._calls.translate_errors():
            answer = self._dialect.begin(settlements, queues, limit, self._holder)
        return answer and TranslatedAnswer(answer, self._calls.translating)

    def _put_back(self, settlements: Sequence[Settlement]) -> set[str]:
        """Put jobs back. Return the ids of the lost ones. An error of the database is the fault of
        one settlement.
        """
        try:
            with self._dialect.transaction():
                return {s.reservation.id for s in settlements if not self._dialect.put_back(s)}
        except (DatabaseError, UnicodeError, OverflowError) as error:
            if not is_refusal(error) or self._dialect.connection.in_atomic_block:
                raise
            if len(settlements) > 1:
                return {id for one in settlements for id in self._put_back([one])}
            return self._put_back_somehow(settlements[0], error)

    def _put_back_somehow(self, settlement: Settlement, error: Exception) -> set[str]:
        """Put a job back without its history, which is the only text from outside."""
        id = settlement.reservation.id
        if settlement.history is None:
            logger.error("Job %s stays reserved until its lease expires: %s", id, error)
            return {id}
        logger.warning("The history of job %s could not be stored: %s", id, error)
        return self._put_back([settlement._replace(history=None)])

    def gone(self, ids: Sequence[str]) -> set[str]:
        with self._calls.translate_errors():
            there = jobs(self._calls.alias).filter(uuid__in=ids).values_list("uuid", flat=True)
            return set(ids) - set(map(str, there))

    def fence(self, reservation: Reservation) -> int:
        return int(reservation.handle[1])

    def free_key(self, id: str, queue: str, key: str) -> None:
        with self._calls.translate_errors():
            unique_keys.free(self._calls.alias, id, key)

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        with self._calls.translate_errors():
            worker = self._worker
            if worker and not workers.extend(self._dialect, self._holder.worker, worker):
                old = self._holder.worker
                self.join()
                workers.move(self._dialect, reservations, old, self._holder.worker)
            return workers.lost(self._dialect, reservations)

    def promote(self, queues: Sequence[str]) -> Promotion:
        with self._calls.translate_errors():
            moved = 0
            dues = self._dialect.next_due(queues)
            if late := [queue for queue, due in dues if due <= 0]:
                moved = self._dialect.promote_all(late)
                dues = self._dialect.next_due(queues)
        due = min((due for _, due in dues), default=None)
        return Promotion(moved, None if due is None else max(due, 0.0))

    def recover(self, limit: int, *, late: float = 0.0) -> list[Reservation]:
        with self._calls.translate_errors():
            workers.look_at(self._clock, self._dialect)
            if not self._clock.may_judge:
                return []
            return workers.recover(self._dialect, self._holder, limit, late)

    def unacknowledged(self, known: Sequence[Reservation]) -> list[Reservation]:
        with self._calls.translate_errors():
            handles = {reservation.handle for reservation in known}
            held = self._dialect.held_by(self._holder.worker)
            return [reservation for reservation in held if reservation.handle not in handles]

    def watch(self, queues: Sequence[str]) -> Wakeup | None:
        with self._calls.translate_errors():
            listen = bool(self._settings.option("LISTEN"))
            wakeup = self._dialect.watch(queues, self._holder, listen=listen)
        return wakeup and TranslatedWakeup(wakeup, self._calls.translate_errors)
