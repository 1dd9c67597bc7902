"""The driver that keeps jobs in a table: PostgreSQL, MySQL, MariaDB and SQLite."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import (
    DatabaseError,
    InterfaceError,
    InternalError,
    OperationalError,
    connections,
)

from djqueue.drivers.base import (
    Answer,
    Capabilities,
    Change,
    Driver,
    Exchange,
    OutgoingJob,
    Promotion,
    QueueCounts,
    Reservation,
    Settlement,
    State,
    StoredJob,
    Verdict,
    Wakeup,
    WorkerIdentity,
)
from djqueue.drivers.database import changing, stored, workers
from djqueue.drivers.database.bound import Bound
from djqueue.drivers.database.connection import (
    BoundConnection,
    forget_connections,
    own_connection,
)
from djqueue.drivers.database.doubt import is_locked, is_refusal
from djqueue.drivers.database.pushing import Pushing
from djqueue.drivers.database.reported import ReportedAnswer, ReportedWakeup
from djqueue.drivers.database.vendors.dialect import Dialect, Holder
from djqueue.drivers.sockets import silence
from djqueue.drivers.store_clock import StoreClock
from djqueue.errors import ConfigurationError, QueueUnavailable

if TYPE_CHECKING:
    from djqueue.conf import ConnectionSettings

logger = logging.getLogger("djqueue")

LONGEST_LEASE = 20.0
NOBODY = 0
"""Holder of reservations made without `join`: in tests, in this process. No worker has this key,
so only the reservation's own time brings such a job back."""


class DatabaseDriver(Driver):
    """Jobs are rows. A push inside the caller's transaction on the same alias is part of it."""

    OPTIONS: ClassVar[dict[str, Any]] = {
        "DATABASE": "default",
        "WAL": True,
        "LISTEN": True,
        "PREPARE": True,
        "WINDOW": 200,
    }
    capabilities = Capabilities()
    jobs_in_sql = True
    shows_workers = True

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__(settings)
        self.alias = settings.database
        self._dialect = _dialect(self.alias)
        self._holder = Holder(NOBODY, settings.retry_after)
        self._identity: WorkerIdentity | None = None
        self._clock = StoreClock(self.lease)

    # -- dispatching ---------------------------------------------------------------------------

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        if jobs:
            Pushing(self._dialect, self._timed, self._explained).push(jobs)

    # -- working -------------------------------------------------------------------------------

    def join(self) -> None:
        """From now on this instance has the alias's connection for itself in this thread."""
        worker = self.worker
        if worker is None:
            return
        options = self.settings.option
        with self._reported():
            if not self._dialect.owned:
                own_connection(self.alias, wal=bool(options("WAL")), seconds=self._limit)
                self._dialect = _dialect(self.alias, owned=True, prepare=bool(options("PREPARE")))
            key = workers.insert(self._dialect, worker, self.settings.name)
            self._clock = StoreClock(worker.lease)
            workers.look_at(self._clock, self._dialect)
        self._identity = worker
        self._holder = Holder(key, self.settings.retry_after)

    def leave(self) -> None:
        with self._reported():
            workers.delete(self._dialect, self._holder.worker)

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        removals = [s for s in settlements if s.verdict is Verdict.REMOVE]
        with self._reported():
            lost: set[str] = set()
            if len(removals) < len(settlements):
                back = [s for s in settlements if s.verdict is not Verdict.REMOVE]
                lost = self._put_back(sorted(back, key=lambda s: s.reservation.handle))
            done = self._dialect.exchange(removals, queues, limit, self._holder)
        return Exchange(done.lost | lost, done.reservations) if lost else done

    def begin(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Answer | None:
        """Where nothing is put back: that takes several statements."""
        if any(settlement.verdict is not Verdict.REMOVE for settlement in settlements):
            return None
        with self._reported():
            answer = self._dialect.begin(settlements, queues, limit, self._holder)
        return answer and ReportedAnswer(answer, self._explaining)

    def _put_back(self, settlements: Sequence[Settlement]) -> set[str]:
        """The ids of those that were lost. What the database refuses is one settlement's fault."""
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
        """Without the history, which is all of it that is not ours."""
        id = settlement.reservation.id
        if settlement.history is None:
            logger.error("Job %s stays reserved until its lease expires: %s", id, error)
            return {id}
        logger.warning("The history of job %s could not be stored: %s", id, error)
        return self._put_back([settlement._replace(history=None)])

    def gone(self, ids: Sequence[str]) -> set[str]:
        return set(ids) - {job.id for job in self.find(ids)}

    def fence(self, reservation: Reservation) -> int:
        return int(reservation.handle[1])

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        with self._reported():
            if self._identity is not None and not workers.extend(
                self._dialect, self._holder.worker, self._identity
            ):
                old = self._holder.worker
                self.join()
                workers.move(self._dialect, reservations, old, self._holder.worker)
            return workers.lost(self._dialect, reservations)

    def promote(self, queues: Sequence[str]) -> Promotion:
        with self._reported():
            moved = 0
            dues = self._dialect.next_due(queues)
            if late := [queue for queue, due in dues if due <= 0]:
                moved = self._dialect.promote_all(late)
                dues = self._dialect.next_due(queues)
        due = min((due for _, due in dues), default=None)
        return Promotion(moved, None if due is None else max(due, 0.0))

    def recover(self, limit: int, *, late: float = 0.0) -> list[Reservation]:
        with self._reported():
            workers.look_at(self._clock, self._dialect)
            if not self._clock.may_judge:
                return []
            return workers.recover(self._dialect, self._holder, limit, late)

    def unacknowledged(self, known: Sequence[Reservation]) -> list[Reservation]:
        with self._reported():
            handles = {reservation.handle for reservation in known}
            held = self._dialect.held_by(self._holder.worker)
            return [reservation for reservation in held if reservation.handle not in handles]

    @property
    def lease(self) -> float:
        """A worker's row costs one small write to renew, so the lease may be short."""
        return min(self.settings.retry_after, LONGEST_LEASE)

    def watch(self, queues: Sequence[str]) -> Wakeup | None:
        with self._reported():
            listen = bool(self.settings.option("LISTEN"))
            wakeup = self._dialect.watch(queues, self._holder, listen=listen)
        return wakeup and ReportedWakeup(wakeup, self._reported)

    # -- inspecting ----------------------------------------------------------------------------

    def counts(self, queue: str) -> QueueCounts:
        with self._reported():
            return stored.counts(self.alias, queue)

    def queues(self) -> list[str]:
        with self._reported():
            names = stored.jobs(self.alias).order_by("queue").values_list("queue", flat=True)
            return sorted({self.settings.queue, *names.distinct()})

    def peek(
        self, queue: str, state: State, limit: int = 20, after: str | None = None
    ) -> list[StoredJob]:
        with self._reported():
            return stored.peek(self.alias, queue, state, limit, after)

    def find(self, ids: Sequence[str]) -> list[StoredJob]:
        with self._reported():
            return stored.describe(self.alias, stored.jobs(self.alias).filter(uuid__in=ids))

    def search(self, part: str, limit: int = 20) -> list[StoredJob]:
        with self._reported():
            return stored.search(self.alias, part, limit)

    def change(self, change: Change, queue: str, seen: Mapping[str, str]) -> set[str]:
        with self._reported():
            return changing.change(self.alias, change, queue, seen)

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool = False) -> int:
        with self._reported():
            return stored.remove(self.alias, queue, ids, even_running=even_running)

    def release(self, queue: str, ids: Sequence[str]) -> int:
        with self._reported():
            return stored.release(self.alias, queue, ids)

    def make_due(self, queue: str) -> int:
        with self._reported():
            return stored.make_due(self.alias, queue)

    def clear(self, queue: str) -> int:
        with self._reported():
            return stored.clear(self.alias, queue)

    # -- processes -----------------------------------------------------------------------------

    def before_fork(self) -> None:
        self._dialect.before_fork()

    def after_fork_in_child(self) -> None:
        descriptor = self._dialect.descriptor()
        if descriptor is not None:
            silence(descriptor)
        forget_connections()

    def shares_transaction_with(self, alias: str) -> bool:
        return alias == self.alias

    def close(self) -> None:
        connections[self.alias].close()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """A call on this driver: its errors are those of the contract, and it has its time."""
        bound = None
        try:
            bound = self._begun()
            yield
        except DatabaseError as error:
            raise self._explained(error) from error
        finally:
            if bound is not None:
                bound.end()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """The same for an answer on its way, which has its time already."""
        try:
            yield
        except DatabaseError as error:
            raise self._explained(error) from error

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """The same, with the errors as they are."""
        bound = self._begun()
        try:
            yield
        finally:
            if bound is not None:
                bound.end()

    def _begun(self) -> Bound | None:
        """What ends the call that begins here; None inside another one, and where no connection is
        a worker's own.
        """
        if not self._dialect.owned:
            return None
        connection = self._dialect.connection
        if isinstance(connection, BoundConnection) and connection.begin(self._limit):
            return connection.bound
        return None

    @property
    def _limit(self) -> float:
        """Seconds that a call of a worker may wait."""
        return self.lease / 8 if self.patience is None else max(self.patience, 0.05)

    def _explained(self, error: DatabaseError) -> Exception:
        """What a database error means here. Others stay as they are, but no worker that runs ends
        because of one: tables change in a migration, and rights are given back.
        """
        runs = self._identity is not None
        if not runs and self._tables_missing():
            return ConfigurationError(
                f'The table `jobs` does not exist in database "{self.alias}": djqueue\'s migrations'
                " have not run there. Run `python manage.py migrate djqueue"
                f"{'' if self.alias == 'default' else f' --database {self.alias}'}`."
            )
        if runs or isinstance(error, OperationalError | InterfaceError | InternalError):
            unavailable = QueueUnavailable(
                f'Database "{self.alias}" of connection "{self.settings.name}" did not do it:'
                f" {error}"
            )
            unavailable.locked = is_locked(error)
            return unavailable
        return error

    def _tables_missing(self) -> bool:
        connection = connections[self.alias]
        if connection.in_atomic_block or connection.connection is None:
            return False
        try:
            return "jobs" not in connection.introspection.table_names()
        except DatabaseError:
            return False


def _dialect(alias: str, *, owned: bool = False, prepare: bool = True) -> Dialect:
    vendor = connections[alias].vendor
    makers: dict[str, Callable[[], type[Dialect]]] = {
        "postgresql": _postgresql,
        "sqlite": _sqlite,
        "mysql": _mysql,
    }
    if vendor not in makers:
        raise ConfigurationError(
            f'Database "{alias}" is {vendor}; the database driver works on PostgreSQL, MySQL,'
            " MariaDB and SQLite. Name another alias in DATABASE, or another driver."
        )
    return makers[vendor]()(alias, owned=owned, prepare=prepare)


def _postgresql() -> type[Dialect]:
    from djqueue.drivers.database.vendors.postgresql import PostgresDialect

    return PostgresDialect


def _sqlite() -> type[Dialect]:
    from djqueue.drivers.database.vendors.sqlite import SqliteDialect

    return SqliteDialect


def _mysql() -> type[Dialect]:
    from djqueue.drivers.database.vendors.mysql import MysqlDialect

    return MysqlDialect
