"""The table of guard rows: what every statement about it shares, and those that each job costs.

These are written by hand, since the ORM would take longer over them than the database. All others
use the ORM, in `djqueue.drivers.guard.guard` and `djqueue.drivers.guard.taking`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, IntegrityError, connections, transaction

from djqueue.databases import sql as statements
from djqueue.databases.connection import bounded
from djqueue.databases.now import UtcNow
from djqueue.databases.sql import marks
from djqueue.drivers.guard.state import Delivery
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import QuerySet

    from djqueue.models import Run

AT_ONCE = 200
"""Rows in one statement. SQLite takes 999 parameters."""

_INSERT = (
    "INSERT INTO djqueue_runs (uuid, ended, reservation, held_as, attempts, interruptions, history,"
    " updated_at, push_id)"
)
_UNAVAILABLE = 'The guard rows in database "{}" could not be read or written: {}'


class Table:
    """The rows in the database `alias`, on Django's connection to it."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.patience: float | None = None
        """As `Driver.patience`."""

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """This thread's connection."""
        return connections[self.alias]

    @property
    def rows(self) -> QuerySet[Run]:
        """All rows."""
        from djqueue.models import Run

        return Run.objects.using(self.alias)

    @contextmanager
    def locked(self, ids: Iterable[str]) -> Iterator[set[str]]:
        """Open a transaction that locks the rows of `ids`. Yields the ids of the rows that were
        free; it does not wait for the others.

        SQLite has no locks of rows, and each statement compares before it writes anyway. Its
        transaction must not begin with a read, after which it could not write when another
        connection has written meanwhile.
        """
        with transaction.atomic(using=self.alias):
            if not self.connection.features.has_select_for_update_skip_locked:
                yield set(ids)
                return
            rows = self.rows.filter(uuid__in=list(ids)).select_for_update(skip_locked=True)
            yield {str(id) for id in rows.values_list("uuid", flat=True)}

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Raise `QueueUnavailable`, with the `DatabaseError` as its cause, for errors of the
        database. Where `patience` is set, a statement waits no longer than that.
        """
        wait: AbstractContextManager[None] = nullcontext()
        if self.patience is not None and not self.connection.in_atomic_block:
            wait = bounded(self.alias, self.patience)
        try:
            with wait:
                yield
        except DatabaseError as error:
            raise QueueUnavailable(_UNAVAILABLE.format(self.alias, error)) from error
        except QueueUnavailable as error:
            cause = error.__cause__
            if not isinstance(cause, DatabaseError):
                raise
            raise QueueUnavailable(_UNAVAILABLE.format(self.alias, cause)) from cause

    # -- by hand, for lists that are not empty ---------------------------------------------------

    def existing(self, ids: Sequence[str]) -> list[str]:
        """Return those of `ids` that have a row."""
        stored = self._stored(ids)
        sql = f"SELECT uuid FROM djqueue_runs WHERE uuid IN ({marks(stored)})"
        found = statements.rows(self.connection, sql, list(stored))
        return [stored[str(row[0])] for row in found]

    def insert(self, jobs: Sequence[Delivery]) -> None:
        """Write a row for each of `jobs`, which is held for the first time."""
        row = f"(%s, %s, 1, %s, 1, 0, '', {self._now}, %s)"
        sql = f"{_INSERT} VALUES {', '.join([row] * len(jobs))}"
        ids = self._stored([job.id for job in jobs])
        values: list[Any] = []
        for stored, job in zip(ids, jobs, strict=True):
            values += (stored, False, job.stored_as, job.push)
        statements.run(self.connection, sql, values)

    def insert_ended(self, pushes: Mapping[str, str]) -> set[str]:
        """Write rows of jobs that have ended, whose pushes are given by their ids, as a part of the
        open transaction. Return the ids of those that had no row. Where a row appears at the same
        time, MySQL and MariaDB write none.
        """
        ids = list(pushes)
        skips = self.connection.features.supports_update_conflicts_with_target
        if not skips:
            known = set(self.existing(ids))
            ids = [id for id in ids if id not in known]
        if not ids:
            return set()
        stored = self._stored(ids)
        row = f"(%s, %s, 0, '', 0, 0, '', {self._now}, %s)"
        sql = f"{_INSERT} VALUES {', '.join([row] * len(stored))}"
        values = [value for key, id in stored.items() for value in (key, True, pushes[id])]
        if skips:
            sql += " ON CONFLICT (uuid) DO NOTHING RETURNING uuid"
            found = statements.rows(self.connection, sql, values)
            return {stored[str(row[0])] for row in found}
        try:
            with transaction.atomic(using=self.alias):
                statements.run(self.connection, sql, values)
        except IntegrityError:
            return set()
        return set(ids)

    def ended(self, ids: Sequence[str]) -> dict[str, str]:
        """Return those of `ids` that have ended, each with its push."""
        stored = self._stored(ids)
        sql = (
            f"SELECT uuid, push_id FROM djqueue_runs WHERE uuid IN ({marks(stored)}) AND ended = %s"
        )
        found = statements.rows(self.connection, sql, [*stored, True])
        return {stored[str(key)]: push for key, push in found if str(key) in stored}

    def delete(self, ids: Sequence[str], number: int) -> None:
        """Delete the rows of `ids` that have `number`."""
        stored = self._stored(ids)
        sql = f"DELETE FROM djqueue_runs WHERE reservation = %s AND uuid IN ({marks(stored)})"
        statements.run(self.connection, sql, [number, *stored])

    def _stored(self, ids: Sequence[str]) -> dict[str, str]:
        """Return ids as this database stores them, with their usual spelling."""
        encode = statements.uuid_encoder(self.connection)
        return {encode(id): id for id in ids}

    @cached_property
    def _now(self) -> str:
        compiler = self.rows.query.get_compiler(self.alias)
        return str(compiler.compile(UtcNow())[0]).replace("%%", "%").replace("%", "%%")
