"""Calls on the database: how long each may take, and what its errors mean to callers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from django.db import (
    DatabaseError,
    InterfaceError,
    InternalError,
    OperationalError,
    connections,
)

from djqueue.databases.bound import Bound
from djqueue.databases.connection import BoundConnection, own_connection
from djqueue.databases.errors import is_locked
from djqueue.drivers.base import Answer, Exchange, Wakeup
from djqueue.drivers.database.vendors.dialect import Dialect
from djqueue.errors import ConfigurationError, QueueUnavailable


class Calls:
    """What the three faces of a driver share: one connection, and the dialect of its database."""

    def __init__(self, alias: str, connection: str, usual: float) -> None:
        self.alias = alias
        self.dialect = make_dialect(alias)
        self.patience: float | None = None
        self.has_worker = False
        """A worker has joined: nothing that the database says is a reason for it to end."""
        self.name = connection
        self._usual = usual
        """Seconds that a call of a worker may wait without a `patience`."""

    def own(self, *, wal: bool, prepare: bool) -> None:
        """Take the connection of the alias for this worker alone, in this thread."""
        if not self.dialect.owned:
            own_connection(self.alias, wal=wal, seconds=self.limit)
            self.dialect = make_dialect(self.alias, owned=True, prepare=prepare)

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        connections[self.alias].close()

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Run a call in this block: its errors are those of the contract, and its time is
        limited.
        """
        bound = None
        try:
            bound = self.begun()
            yield
        except DatabaseError as error:
            raise self.explain(error) from error
        finally:
            if bound is not None:
                bound.end()

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Do the same for an answer on its way, whose time is limited already."""
        try:
            yield
        except DatabaseError as error:
            raise self.explain(error) from error

    def begun(self) -> Bound | None:
        """Return what ends the call that begins here; None inside another one, and if no connection
        is a worker's own.
        """
        if not self.dialect.owned:
            return None
        connection = self.dialect.connection
        if isinstance(connection, BoundConnection) and connection.begin(self.limit):
            return connection.bound
        return None

    @property
    def limit(self) -> float:
        """Seconds that a call of a worker may wait."""
        return self._usual if self.patience is None else max(self.patience, 0.05)

    def explain(self, error: DatabaseError) -> Exception:
        """Return the error of the contract for a database error. Others stay unchanged, but no
        running worker ends because of one: tables change in a migration, and rights are given back.
        """
        if not self.has_worker and self._tables_missing():
            return ConfigurationError(
                f'The table `jobs` does not exist in database "{self.alias}": djqueue\'s migrations'
                " have not run there. Run `python manage.py migrate djqueue"
                f"{'' if self.alias == 'default' else f' --database {self.alias}'}`."
            )
        if self.has_worker or isinstance(error, OperationalError | InterfaceError | InternalError):
            unavailable = QueueUnavailable(
                f'Connection "{self.name}" (database "{self.alias}") is unavailable: {error}'
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


def make_dialect(alias: str, *, owned: bool = False, prepare: bool = True) -> Dialect:
    """Return the dialect of that database."""
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


class TranslatedWakeup(Wakeup):
    """`wakeup`, with the errors of the driver contract."""

    def __init__(
        self, wakeup: Wakeup, translate_errors: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._wakeup = wakeup
        self._translate_errors = translate_errors

    @property
    def look_again(self) -> float:  # type: ignore[override]
        return self._wakeup.look_again

    def fileno(self) -> int | None:
        return self._wakeup.fileno()

    def arrived(self) -> bool:
        with self._translate_errors():
            return self._wakeup.arrived()

    def set_idle(self, idle: bool) -> None:
        with self._translate_errors():
            self._wakeup.set_idle(idle)

    def close(self) -> None:
        """What is broken needs no goodbye."""
        with suppress(QueueUnavailable), self._translate_errors():
            self._wakeup.close()


class TranslatedAnswer(Answer):
    """`answer`, with the errors of the driver contract."""

    def __init__(
        self, answer: Answer, translate_errors: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._answer = answer
        self._translate_errors = translate_errors

    def fileno(self) -> int:
        return self._answer.fileno()

    def is_there(self) -> bool:
        with self._translate_errors():
            return self._answer.is_there()

    def take(self) -> Exchange:
        with self._translate_errors():
            return self._answer.take()
