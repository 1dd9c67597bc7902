"""MySQL and MariaDB: no UPDATE … RETURNING, so a reserve is a short transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from django.db import OperationalError

from djqueue.databases.sql import marks
from djqueue.drivers.base import Exchange, OutgoingJob, Reservation, Settlement
from djqueue.drivers.database.vendors.dialect import (
    COLUMNS,
    PROMOTE_SLICE,
    PUSHED,
    Answered,
    Dialect,
    Holder,
)

_DEADLOCK = 1213
_TRIES = 5
ROOM = 2048
"""Bytes of a statement beside the payload."""


class MysqlDialect(Dialect):
    """Times are `UTC_TIMESTAMP(6)`, which is what Django stores with USE_TZ."""

    now = "UTC_TIMESTAMP(6)"
    later = "UTC_TIMESTAMP(6) + INTERVAL %s SECOND"
    ignore_duplicate = "ON DUPLICATE KEY UPDATE queue = queue"

    replace_duplicate = (
        # From left to right: the last one decides for all.
        "ON DUPLICATE KEY UPDATE reservation = reservation + (push_id <> VALUES(push_id)), "
        + ", ".join(
            f"{column} = IF(push_id <> VALUES(push_id), {value}, {column})"
            for column, value in (
                ("reserved_at", "NULL"),
                ("reserved_until", "NULL"),
                ("reserved_by", "NULL"),
                ("batch_id", "NULL"),
                *((column, f"VALUES({column})") for column in PUSHED),
            )
        )
    )
    by_line = " FORCE INDEX (djqueue_jobs_line)"
    by_holder = " FORCE INDEX (djqueue_jobs_held)"

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        self.repeat(lambda: super(MysqlDialect, self).push(jobs))

    def too_large(self, jobs: Sequence[OutgoingJob]) -> dict[str, str]:
        """Find the jobs by their sizes: the server says nothing, and ends the connection in the
        middle of the statement.
        """
        with self.connection.wrap_database_errors:
            raw = self.connection.get_new_connection(self.connection.get_connection_params())
            with closing(raw), closing(raw.cursor()) as cursor:
                cursor.execute("SELECT @@max_allowed_packet")
                limit = int(cursor.fetchone()[0])
        return {
            job.id: f"its payload has {size:,} bytes, and the database takes statements of"
            f" {limit:,} at most (max_allowed_packet). Set STORE_ABOVE of the connection to less,"
            " or raise the limit."
            for job in jobs
            if (size := len(job.payload.encode(errors="replace"))) + ROOM > limit
        }

    def seconds_until(self, column: str) -> str:
        return f"TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), {column}) / 1000000"

    def exchange(
        self, removals: Sequence[Settlement], queues: Sequence[str], limit: int, holder: Holder
    ) -> Exchange:
        return self.repeat(lambda: self._exchange(removals, queues, limit, holder))

    def _exchange(
        self, removals: Sequence[Settlement], queues: Sequence[str], limit: int, holder: Holder
    ) -> Exchange:
        reservations: list[Reservation] = []
        with self.transaction():
            lost = self._remove(removals) if removals else set()
            for queue in queues:
                wanted = limit - len(reservations)
                if wanted <= 0:
                    break
                rows = self.rows(
                    f"SELECT {COLUMNS} FROM jobs{self.by_line}"
                    " WHERE queue = %s AND line IS NOT NULL"
                    " ORDER BY line, available_at, id LIMIT %s FOR UPDATE SKIP LOCKED",
                    [queue, wanted],
                )
                if not rows:
                    continue
                self.run(
                    f"UPDATE jobs SET line = NULL, attempts = {self.one_attempt_more},"
                    f" reservation = reservation + 1, reserved_at = {self.now},"
                    f" reserved_until = {self.later}, reserved_by = %s"
                    f" WHERE id IN ({marks(rows)})",
                    [holder.hold_for, holder.worker, *(row[0] for row in rows)],
                )
                reservations += [self._reserved(row, attempts=1) for row in rows]
        return Exchange(lost, reservations)

    def _remove(self, removals: Sequence[Settlement]) -> set[str]:
        """Lock and compare the rows first: a DELETE would not say which ones it missed."""
        by_handle = {s.reservation.handle: s.reservation.id for s in removals}
        ids = [id for id, _ in by_handle]
        rows = self.rows(
            f"SELECT id, reservation FROM jobs WHERE id IN ({marks(ids)}) ORDER BY id FOR UPDATE",
            ids,
        )
        ours = [id for id, number in rows if (id, number) in by_handle]
        if ours:
            self.run(f"DELETE FROM jobs WHERE id IN ({marks(ours)})", ours)
        gone = set(ours)
        return {id for (row, _), id in by_handle.items() if row not in gone}

    def take_over(self, dead: int | None, limit: int, holder: Holder) -> list[Reservation]:
        return self.repeat(lambda: self._take_over(dead, limit, holder))

    def _take_over(self, dead: int | None, limit: int, holder: Holder) -> list[Reservation]:
        gone, params = ("reserved_by = %s", [dead]) if dead is not None else (self.orphaned, [])
        with self.transaction():
            rows = self.rows(
                f"SELECT {COLUMNS} FROM jobs{self.by_holder} WHERE {gone}"
                " ORDER BY reserved_by LIMIT %s"
                " FOR UPDATE SKIP LOCKED",
                [*params, limit],
            )
            if rows:
                self.run(
                    f"UPDATE jobs SET reservation = reservation + 1, reserved_until = {self.later},"
                    f" reserved_by = %s WHERE id IN ({marks(rows)})",
                    [holder.hold_for, holder.worker, *(row[0] for row in rows)],
                )
        return [self._reserved(row, attempts=0) for row in rows]

    def promote(self, queue: str) -> int:
        return self.repeat(lambda: self._promote(queue))

    def _promote(self, queue: str) -> int:
        """Promote in two steps: an UPDATE with a sub-select would walk, and lock, the whole
        table.
        """
        with self.transaction():
            rows = self.rows(
                f"SELECT id FROM jobs{self.by_line} WHERE queue = %s AND line IS NULL"
                f" AND reserved_by IS NULL AND available_at <= {self.now}"
                f" ORDER BY {self.by_time} LIMIT {PROMOTE_SLICE} FOR UPDATE SKIP LOCKED",
                [queue],
            )
            if not rows:
                return 0
            return self.run(
                f"UPDATE jobs SET line = {self.in_line} WHERE id IN ({marks(rows)})",
                [row[0] for row in rows],
            )

    def put_back(self, settlement: Settlement) -> bool:
        return self.repeat(lambda: super(MysqlDialect, self).put_back(settlement))

    def _reserved(self, row: Sequence[Any], *, attempts: int) -> Reservation:
        """Return the reservation of a row that was read before the update: add what the update
        added.
        """
        values = list(row)
        values[5] += attempts
        values[8] += 1
        return self.reservation(values)

    def repeat(self, action: Callable[[], Answered]) -> Answered:
        """Try again if InnoDB has chosen this transaction as a victim, as it does now and then
        whatever the order of locks. Not inside an open transaction, which is rolled back as a whole
        by then.
        """
        for _ in range(_TRIES - 1):
            try:
                return action()
            except OperationalError as error:
                code = error.args[0] if error.args else None
                if code != _DEADLOCK or self.connection.in_atomic_block:
                    raise
        return action()
