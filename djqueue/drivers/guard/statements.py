"""The three statements about guard rows that every job costs, by hand: the ORM would take longer
over them than the database. Everything rarer is the ORM, in `djqueue.drivers.guard.guard`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db import connections

from djqueue.drivers.guard.state import Found
from djqueue.drivers.now import UtcNow

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class Statements:
    """They run on Django's connection to `alias`, on lists that are not empty."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    @property
    def _connection(self) -> BaseDatabaseWrapper:
        return connections[self._alias]

    def existing(self, ids: Sequence[str]) -> list[str]:
        """Those of `ids` that have a row."""
        stored = self._stored(ids)
        sql = f"SELECT uuid FROM djqueue_runs WHERE uuid IN ({_marks(stored)})"
        with self._connection.cursor() as cursor:
            cursor.execute(sql, list(stored))
            return [stored[str(row[0])] for row in cursor.fetchall()]

    def insert(self, jobs: Sequence[Found]) -> None:
        """A row for each, held for the first time."""
        row = f"(%s, %s, 1, %s, 1, 0, '', {self._now}, %s)"
        sql = (
            "INSERT INTO djqueue_runs (uuid, ended, reservation, held_as, attempts, interruptions,"
            f" history, updated_at, push_id) VALUES {', '.join([row] * len(jobs))}"
        )
        ids = self._stored([job.id for job in jobs])
        values: list[Any] = []
        for stored, job in zip(ids, jobs, strict=True):
            values += (stored, False, job.stored_as, job.push)
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values)

    def delete(self, ids: Sequence[str], number: int) -> None:
        """Remove rows, unless they have another number."""
        stored = self._stored(ids)
        sql = f"DELETE FROM djqueue_runs WHERE reservation = %s AND uuid IN ({_marks(stored)})"
        with self._connection.cursor() as cursor:
            cursor.execute(sql, [number, *stored])

    def _stored(self, ids: Sequence[str]) -> dict[str, str]:
        """Ids as this database stores them, to the usual spelling."""
        native = self._connection.features.has_native_uuid_field
        return {id if native else id.replace("-", ""): id for id in ids}

    @cached_property
    def _now(self) -> str:
        from djqueue.models import Run

        compiler = Run.objects.using(self._alias).query.get_compiler(self._alias)
        return str(compiler.compile(UtcNow())[0]).replace("%%", "%").replace("%", "%%")


def _marks(values: dict[str, str]) -> str:
    return ", ".join(["%s"] * len(values))
