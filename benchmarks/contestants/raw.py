"""Loops on djqueue's own table, with djqueue's own statements and nothing around them."""

from __future__ import annotations

import contextlib
import os
import select
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.contestants import djqueue

_CHUNK = 1000


class Contestant(djqueue.Contestant):
    """Works in djqueue's room."""

    def prepare(self) -> None:
        """The tables are djqueue's."""

    # -- pushing -------------------------------------------------------------------------------

    def insert(self, count: int) -> float:
        """The INSERT of djqueue through Django's cursor, one committed row at a time."""
        from django.db import connection

        statement, rows = self._rows(count)
        began = time.perf_counter()
        for row in rows:
            with connection.cursor() as cursor:
                cursor.execute(statement, row)
        return count / (time.perf_counter() - began)

    def insert_prepared(self, count: int) -> float:
        """The same as a prepared statement of psycopg, around Django's cursor."""
        from django.db import connection

        statement, rows = self._rows(count)
        connection.ensure_connection()
        connection.connection.prepare_threshold = 0  # Django's None means never
        import psycopg

        with psycopg.Cursor(connection.connection) as cursor:
            began = time.perf_counter()
            for row in rows:
                cursor.execute(statement, row, prepare=True)
            return count / (time.perf_counter() - began)

    def insert_many(self, count: int) -> float:
        """By executemany in transactions of a thousand; by COPY on PostgreSQL."""
        from django.db import connection, transaction

        statement, rows = self._rows(count)
        if self._vendor == "postgresql":
            return self._copy(rows)
        began = time.perf_counter()
        for start in range(0, count, _CHUNK):
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.executemany(statement, rows[start : start + _CHUNK])
        return count / (time.perf_counter() - began)

    def _copy(self, rows: Sequence[Sequence[Any]]) -> float:
        from django.db import connection

        columns = "queue, name, payload, uuid, priority, line"
        statement = (
            f"COPY jobs ({columns}, attempts, reservation, interruptions, history) FROM STDIN"
        )
        lines = ["\t".join(map(str, row)) + "\t0\t0\t0\t\n" for row in rows]
        began = time.perf_counter()
        for start in range(0, len(lines), _CHUNK):
            with connection.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write("".join(lines[start : start + _CHUNK]))
        return len(lines) / (time.perf_counter() - began)

    def _rows(self, count: int) -> tuple[str, list[Any]]:
        from benchmarks.project.jobs import Noop
        from djqueue.dispatch.dispatch import prepare
        from djqueue.drivers.database.calls import make_dialect
        from djqueue.drivers.database.vendors.dialect import Kind
        from djqueue.jobs.definition.spec import spec_of

        dialect = make_dialect("default")
        jobs = [Noop(number) for number in range(count)]
        ready = [prepare(job, spec_of(job)).outgoing for job in jobs]
        kind = Kind.of(ready[0])
        return dialect._insert(kind, 1), [dialect._insert_values(job, kind) for job in ready]

    # -- settling and reserving ----------------------------------------------------------------

    def loop(self, window: int) -> float:
        """Settle a window and take the next until the table is empty; jobs a second."""
        if self._vendor == "postgresql":
            return self._loop_postgresql(window)
        return self._loop_sqlite(window)

    def _loop_postgresql(self, window: int) -> float:
        import psycopg
        from django.db import connection

        from djqueue.drivers.database.vendors.postgresql import PostgresDialect, _exchange

        take = ["default", window, 90.0, 0]
        connection.ensure_connection()
        PostgresDialect("default", owned=True)._prepare_from_now_on()
        first, both = (_exchange(settling, 1, prepared=True) for settling in (False, True))
        with psycopg.Cursor(connection.connection) as cursor:
            taken = 0
            began = time.perf_counter()
            rows = cursor.execute(first, take, prepare=True).fetchall()
            while rows:
                taken += len(rows)
                settle = [[row[0] for row in rows], [row[8] for row in rows]]
                rows = cursor.execute(both, [*settle, *take], prepare=True).fetchall()
            return taken / (time.perf_counter() - began)

    def _loop_sqlite(self, window: int) -> float:
        from djqueue.drivers.database.vendors.sqlite import _RESERVE, _plain

        reserve = _plain(_RESERVE)
        raw = sqlite3.connect(self.store["name"], isolation_level=None, timeout=30)
        with contextlib.closing(raw):
            raw.execute("PRAGMA synchronous=NORMAL")
            taken = 0
            rows: list[Any] = []
            began = time.perf_counter()
            while rows or not taken:
                raw.execute("BEGIN IMMEDIATE")
                if rows:
                    ids = ", ".join(["?"] * len(rows))
                    pairs = ", ".join(["(?, ?)"] * len(rows))
                    raw.execute(
                        f"DELETE FROM jobs WHERE id IN ({ids})"
                        f" AND (id, reservation) IN (VALUES {pairs}) RETURNING id",
                        [
                            *(row[0] for row in rows),
                            *(value for row in rows for value in (row[0], row[8])),
                        ],
                    ).fetchall()
                rows = raw.execute(reserve, [90.0, 0, "default", window]).fetchall()
                raw.execute("COMMIT")
                taken += len(rows)
                if not taken:
                    raise RuntimeError("The table is empty.")
            return taken / (time.perf_counter() - began)

    # -- waking --------------------------------------------------------------------------------

    def notify(self, pauses: Sequence[float]) -> list[float]:
        """Seconds from just before a NOTIFY until another process that listens has it."""
        from django.db import connection

        connection.close()
        heard, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._listen(tell)
        connection.ensure_connection()
        raw = connection.connection
        os.read(heard, 8)
        latencies = []
        for pause in pauses:
            time.sleep(pause)
            began = time.monotonic_ns()
            raw.execute("SELECT pg_notify('bench', '')")
            latencies.append((int.from_bytes(os.read(heard, 8), "big") - began) / 1e9)
        raw.execute("SELECT pg_notify('bench', 'end')")
        os.waitpid(pid, 0)
        os.close(heard)
        os.close(tell)
        return latencies

    def _listen(self, tell: int) -> None:
        """A process that waits as a worker does. Never returns."""
        from django.db import connection

        try:
            connection.ensure_connection()
            raw = connection.connection
            raw.execute("LISTEN bench")
            os.write(tell, bytes(8))
            while True:
                select.select([raw.fileno()], [], [])
                raw.pgconn.consume_input()
                while notification := raw.pgconn.notifies():
                    if notification.extra == b"end":
                        return
                    os.write(tell, time.monotonic_ns().to_bytes(8, "big"))
        finally:
            os._exit(0)
