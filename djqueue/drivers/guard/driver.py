"""The driver of a guarded store: its session, its inspector, and the guard that both ask."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from djqueue.conf import settings as every_setting
from djqueue.drivers.base import Driver, Inspector, Session
from djqueue.drivers.guard.guard import KEEP, Guard
from djqueue.drivers.types import (
    Exchange,
    QueueCounts,
    Reservation,
    Settlement,
    StoredJob,
    Wakeup,
    WorkerIdentity,
)
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from djqueue.conf import ConnectionSettings
    from djqueue.drivers.guard.session import GuardedSession


class GuardedDriver(Driver, Session, Inspector):
    """A driver whose guard rows are in the database that its key DATABASE names. A subclass makes
    `_session` and `_inspector`.
    """

    _session: GuardedSession[Any]
    _inspector: Inspector

    def __init__(
        self, settings: ConnectionSettings, held_for: float | None = None, keep: timedelta = KEEP
    ) -> None:
        """`held_for` and `keep`: as `Guard` takes them."""
        super().__init__(settings)
        alias = self.settings.option("DATABASE") or every_setting().job_database
        self._guard = Guard(alias, held_for, keep)

    def session(self, worker: WorkerIdentity | None = None) -> Session:
        self._session.worker = worker
        return self._session

    def inspector(self) -> Inspector:
        return self._inspector

    # -- both faces, for tests that work and look through one object -----------------------------

    def join(self) -> None:
        self._session.join()

    @property
    def lease(self) -> float:
        return self._session.lease

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        return self._session.exchange(settlements, queues, limit)

    def settle(self, settlements: Sequence[Settlement]) -> set[str]:
        return self._session.settle(settlements)

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        return self._session.extend(reservations)

    def lost_hold(self) -> bool:
        return self._session.lost_hold()

    def fence(self, reservation: Reservation) -> int:
        return self._session.fence(reservation)

    def recover(self, limit: int, *, late: float = 0.0) -> list[Reservation]:
        return self._session.recover(limit, late=late)

    @property
    def has_orphans(self) -> bool:
        return self._session.has_orphans

    def unacknowledged(self, known: Sequence[Reservation]) -> list[Reservation]:
        return self._session.unacknowledged(known)

    def watch(self, queues: Sequence[str]) -> Wakeup | None:
        return self._session.watch(queues)

    def guards(self, alias: str) -> bool:
        return self._session.guards(alias)

    def confirm_end(self, reservation: Reservation, *, over: bool) -> bool:
        return self._session.confirm_end(reservation, over=over)

    def reset_connection(self, error: QueueUnavailable) -> None:
        self._session.reset_connection(error)

    def counts(self, queue: str) -> QueueCounts:
        return self._inspector.counts(queue)

    def queues(self) -> list[str]:
        return self._inspector.queues()

    def find(self, ids: Sequence[str]) -> list[StoredJob]:
        return self._inspector.find(ids)

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool = False) -> int:
        return self._inspector.remove(queue, ids, even_running=even_running)

    def cancel(self, id: str, *, unseen: bool) -> bool:
        return self._inspector.cancel(id, unseen=unseen)

    def make_due(self, queue: str) -> int:
        return self._inspector.make_due(queue)

    def clear(self, queue: str) -> int:
        return self._inspector.clear(queue)

    def warnings(self) -> list[str]:
        return self._inspector.warnings()
