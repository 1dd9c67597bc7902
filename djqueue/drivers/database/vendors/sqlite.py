"""SQLite: one writer at a time, so a write transaction is taken at once and kept short."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from djqueue.databases.sql import marks
from djqueue.drivers.base import Exchange, OutgoingJob, Reservation, Settlement, Wakeup
from djqueue.drivers.database.vendors.data_version import ChangeWakeup
from djqueue.drivers.database.vendors.dialect import PROMOTE_SLICE, Dialect, Holder, _runs
from djqueue.drivers.database.vendors.inotify import WrittenWakeup
from djqueue.drivers.slices import slices

_TIME = "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now'{})"
_READ = (
    "id, CAST(uuid AS BLOB), queue, CAST(name AS BLOB), CAST(payload AS BLOB),"
    " CAST(attempts AS INTEGER), CAST(interruptions AS INTEGER), CAST(history AS BLOB), reservation"
)
"""Texts as bytes and numbers as numbers: SQLite keeps anything in any column, and one row that is
no UTF-8 must not make the whole window unreadable."""


class SqliteDialect(Dialect):
    """Times are the host's clock, in milliseconds."""

    now = _TIME.format("")
    later = _TIME.format(", %s || ' seconds'")
    ignore_duplicate = "ON CONFLICT (uuid) DO NOTHING"
    # Its numbers have no such ends.
    one_attempt_more = "attempts + 1"
    one_attempt_less = "MAX(attempts, 1) - 1"
    one_interruption_more = "interruptions + 1"
    in_line = "-priority"
    columns = _READ

    def seconds_until(self, column: str) -> str:
        return f"(julianday({column}) - julianday('now')) * 86400.0"

    # -- execution -----------------------------------------------------------------------------

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement without Django's wrapper on a worker's own connection."""
        if not self.owned:
            return super().rows(sql, params)
        self.connection.ensure_connection()
        with self.connection.wrap_database_errors:
            raw: sqlite3.Connection = self.connection.connection
            return sqlite3.Connection.execute(raw, _plain(sql), params).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin with BEGIN IMMEDIATE on a worker's own connection. A transaction that reads first
        fails at its first write when another connection wrote in between.
        """
        if not self.owned or self.connection.in_atomic_block:
            with super().transaction():
                yield
            return
        self.rows("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.rows("ROLLBACK")
            raise
        self.rows("COMMIT")

    # -- push ----------------------------------------------------------------------------------

    def push_many(self, jobs: Sequence[OutgoingJob]) -> None:
        with self.transaction(), self.connection.cursor() as cursor:
            for kind, some in _runs(jobs):
                sql = self._insert(kind, 1)
                cursor.executemany(sql, [self._insert_values(job, kind) for job in some])

    # -- settle and reserve --------------------------------------------------------------------

    def exchange(
        self, removals: Sequence[Settlement], queues: Sequence[str], limit: int, holder: Holder
    ) -> Exchange:
        lost: set[str] = set()
        reservations: list[Reservation] = []
        with self.transaction():
            if removals:
                lost = self._remove(removals)
            for queue in queues:
                wanted = limit - len(reservations)
                if wanted <= 0:
                    break
                params = [holder.hold_for, holder.worker, queue, wanted]
                # The rows come back in no order: `line` is NULL by now, so the old one is not
                # known, but neighbours in the queue have it as minus their priority.
                rows = self.rows(_RESERVE, params)
                rows.sort(key=_order)
                reservations += [self.reservation(row) for row in rows]
        return Exchange(lost, reservations)

    def _remove(self, removals: Sequence[Settlement]) -> set[str]:
        by_row = {s.reservation.handle[0]: s.reservation for s in removals}
        gone: set[int] = set()
        handles = [reservation.handle for reservation in by_row.values()]
        for chunk in slices(handles, 100):
            ids = marks(chunk)
            pairs = ", ".join(["(%s, %s)"] * len(chunk))
            rows = self.rows(
                # The keys alone first: for a list of pairs SQLite would read the whole table.
                f"DELETE FROM jobs WHERE id IN ({ids}) AND (id, reservation) IN (VALUES {pairs})"
                " RETURNING id",
                [*(id for id, _ in chunk), *(value for handle in chunk for value in handle)],
            )
            gone.update(row[0] for row in rows)
        return {reservation.id for id, reservation in by_row.items() if id not in gone}

    def take_over(self, dead: int | None, limit: int, holder: Holder) -> list[Reservation]:
        gone, params = ("reserved_by = %s", [dead]) if dead is not None else (self.orphaned, [])
        sql = (
            "UPDATE jobs SET reservation = reservation + 1, reserved_until = "
            f"{self.later}, reserved_by = %s"
            f" WHERE id IN (SELECT id FROM jobs WHERE {gone} ORDER BY reserved_by LIMIT %s)"
            f" RETURNING {_READ}"
        )
        rows = self.rows(sql, [holder.hold_for, holder.worker, *params, limit])
        return [self.reservation(row) for row in rows]

    def promote(self, queue: str) -> int:
        return self.run(
            f"UPDATE jobs SET line = {self.in_line} WHERE id IN (SELECT id FROM jobs"
            " WHERE queue = %s AND line IS NULL AND reserved_by IS NULL"
            f" AND available_at <= {self.now} ORDER BY {self.by_time} LIMIT {PROMOTE_SLICE})",
            [queue],
        )

    def reservation(self, row: Sequence[Any]) -> Reservation:
        id, uuid, queue, name, payload, attempts, interruptions, history, number = row[:9]
        return super().reservation(
            (
                id,
                uuid.decode("utf-8", "replace"),
                queue,
                name.decode("utf-8", "replace"),
                payload.decode("utf-8", "surrogateescape"),
                attempts,
                interruptions,
                history.decode("utf-8", "replace"),
                number,
            )
        )

    # -- wake-up -------------------------------------------------------------------------------

    def watch(self, queues: Sequence[str], holder: Holder, *, listen: bool) -> Wakeup | None:
        if not self.owned:
            return None
        try:
            return WrittenWakeup(self)
        except OSError:
            return ChangeWakeup(self)


_RESERVE = (
    "UPDATE jobs SET line = NULL, attempts = attempts + 1, reservation = reservation + 1,"
    f" reserved_at = {SqliteDialect.now}, reserved_until = {SqliteDialect.later},"
    " reserved_by = %s WHERE id IN (SELECT id FROM jobs WHERE queue = %s AND line IS NOT NULL"
    f" ORDER BY line, available_at, id LIMIT %s) RETURNING {_READ}, -priority,"
    " CAST(available_at AS BLOB)"
)


def _order(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return (row[9], row[10], row[0])


@lru_cache(maxsize=256)
def _plain(sql: str) -> str:
    """Return a statement in sqlite3's own parameter style."""
    return sql.replace("%s", "?").replace("%%", "%")
