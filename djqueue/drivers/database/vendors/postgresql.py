"""PostgreSQL: one statement settles and reserves; LISTEN wakes; COPY pushes in bulk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

from django.db import IntegrityError, transaction

from djqueue.databases.bound import Bound
from djqueue.databases.connection import PATIENCE
from djqueue.drivers.base import Answer, Exchange, OutgoingJob, Reservation, Settlement, Wakeup
from djqueue.drivers.database.vendors.copying import lines
from djqueue.drivers.database.vendors.dialect import COLUMNS, PROMOTE_SLICE, Dialect, Holder, Kind
from djqueue.drivers.database.vendors.listen import CHANNEL, ListenWakeup
from djqueue.drivers.database.vendors.prepared import Prepared, Sent

logger = logging.getLogger("djqueue")

ASK_AGAIN_SOON, ASK_AGAIN = 20.0, 300.0
"""Seconds after which it is tried again whether notifications arrive, where that could not be tried
and where they did not."""
MANY = 2
"""Queues from which the statement of a reserve takes a list."""
COPY_FROM = 50
"""Jobs from which COPY is faster than one INSERT."""

_READ = COLUMNS.replace("uuid", "uuid::text")
_HELD = ", ".join(f"jobs.{column}" for column in _READ.split(", "))


class PostgresDialect(Dialect):
    """Times are `statement_timestamp()`: `now()` stands still inside a transaction."""

    now = "statement_timestamp()"
    later = "statement_timestamp() + make_interval(secs => %s)"
    ignore_duplicate = "ON CONFLICT (uuid) DO NOTHING"
    columns = _READ
    by_time = "line, available_at"  # it does not see that `line IS NULL` makes all lines equal

    def __init__(self, alias: str, *, owned: bool = False, prepare: bool = True) -> None:
        super().__init__(alias, owned=owned, prepare=prepare)
        self._prepared: Prepared | None = None
        """On a connection that is known to be one session, not a pooler's."""
        self._deaf: tuple[Any, float] | None = None
        """A connection on which no notification arrived, and when (monotonic) to try once more."""

    def seconds_until(self, column: str) -> str:
        return f"extract(epoch FROM {column} - statement_timestamp())"

    # -- execution -----------------------------------------------------------------------------

    @property
    def _own_session(self) -> Prepared | None:
        """Return whether statements may be prepared on this connection. Not in a transaction:
        psycopg's cursors begin it.
        """
        prepared, connection = self._prepared, self.connection
        if prepared is None or prepared.raw is not connection.connection:
            return None
        return None if connection.in_atomic_block else prepared

    # -- push ----------------------------------------------------------------------------------

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        super().push(jobs)
        if len(jobs) > 1:
            self._wake({job.queue for job in jobs})

    @classmethod
    @lru_cache(maxsize=512)
    def _insert(cls, kind: Kind, count: int) -> str:
        """Insert. A push of one job wakes an idle worker in the same statement."""
        insert = super()._insert(kind, count)
        return f"WITH pushed AS ({insert}) {_WAKE}" if count == 1 else insert

    def push_many(self, jobs: Sequence[OutgoingJob]) -> None:
        """Push by COPY if nothing is delayed, all are of one batch or of none, and all are pushed
        again or none. COPY cannot skip or replace a duplicate: then rows are inserted.
        """
        batch, again = jobs[0].batch, bool(jobs[0].push_id)
        copyable = len(jobs) >= COPY_FROM and not any(
            job.delay or bool(job.push_id) is not again or job.batch != batch for job in jobs
        )
        if not copyable or not hasattr(self._raw_connection(), "pgconn"):
            return super().push_many(jobs)
        try:
            with self._savepoint():
                self._copy(jobs)
        except IntegrityError:
            super().push_many(jobs)

    def _savepoint(self) -> AbstractContextManager[None]:
        """Open a savepoint in an open transaction, so that a refused statement does not spoil the
        rest of it.
        """
        if self.connection.get_autocommit():
            return nullcontext()
        atomic: AbstractContextManager[None] = transaction.atomic(using=self.alias)
        return atomic

    def _copy(self, jobs: Sequence[OutgoingJob]) -> None:
        columns = "queue, name, payload, uuid, priority, line, attempts, reservation"
        with self.connection.cursor() as cursor:
            columns += ", interruptions, history"
            columns += ", batch_id" * bool(jobs[0].batch) + ", push_id" * bool(jobs[0].push_id)
            statement = f"COPY jobs ({columns}) FROM STDIN"
            # Django's cursor wraps no errors here.
            with self.connection.wrap_database_errors, cursor.copy(statement) as copy:
                copy.write(lines(jobs))

    def _raw_connection(self) -> Any:
        self.connection.ensure_connection()
        return self.connection.connection

    def _wake(self, queues: set[str]) -> None:
        for queue in sorted(queues):
            self.rows(_WAKE_QUEUE, [queue])

    # -- settle and reserve --------------------------------------------------------------------

    def exchange(
        self, removals: Sequence[Settlement], queues: Sequence[str], limit: int, holder: Holder
    ) -> Exchange:
        if (answer := self.begin(removals, queues, limit, holder)) is not None:
            return answer.take()
        sql, params = _asked(removals, queues, limit, holder, prepared=False)
        if not params:
            return Exchange(set(), [])
        return self._answered(self.rows(sql, params), removals, queues)

    def begin(
        self, removals: Sequence[Settlement], queues: Sequence[str], limit: int, holder: Holder
    ) -> Answer | None:
        session = self._own_session
        if session is None:
            return None
        sql, params = _asked(removals, queues, limit, holder, prepared=True)
        if not params:
            return None
        with self.connection.wrap_database_errors:
            sent = session.send(sql, params)
        return _Answer(self, sent, lambda rows: self._answered(rows, removals, queues))

    def _answered(
        self, rows: Sequence[Sequence[Any]], removals: Sequence[Settlement], queues: Sequence[str]
    ) -> Exchange:
        lost: set[tuple[int, int]] = set()
        reservations: list[Reservation] = []
        for row in rows:
            if row[1] is None:
                lost.add((row[0], row[8]))
            else:
                reservations.append(self.reservation(row))
        if len(queues) > 1:
            place = {queue: index for index, queue in enumerate(queues)}
            reservations.sort(key=lambda reservation: place[reservation.queue])
        return Exchange(
            {s.reservation.id for s in removals if s.reservation.handle in lost} if lost else set(),
            reservations,
        )

    def reservation(self, row: Sequence[Any]) -> Reservation:
        id, uuid, queue, name, payload, attempts, interruptions, history, number = row[:9]
        return Reservation(
            uuid, queue, name, payload, attempts, interruptions, history, (id, number)
        )

    def take_over(self, dead: int | None, limit: int, holder: Holder) -> list[Reservation]:
        gone, params = ("reserved_by = %s", [dead]) if dead is not None else (self.orphaned, [])
        sql = (
            f"WITH taken AS MATERIALIZED (SELECT id FROM jobs WHERE {gone}"
            " ORDER BY reserved_by LIMIT %s FOR UPDATE SKIP LOCKED)"
            " UPDATE jobs SET reservation = reservation + 1, reserved_by = %s,"
            " reserved_until = statement_timestamp() + make_interval(secs => %s)"
            f" FROM taken WHERE jobs.id = taken.id RETURNING {_HELD}"
        )
        values = [*params, limit, holder.worker, holder.hold_for]
        return [self.reservation(row) for row in self.rows(sql, values)]

    def next_due(self, queues: Sequence[str]) -> list[tuple[str, float]]:
        if len(queues) < MANY:
            return super().next_due(queues)
        one = self._next_due(0).replace("%s", "asked.queue").replace("SELECT 0,", "SELECT")
        rows = self.rows(
            f"SELECT asked.queue, found.seconds FROM {_ASKED}, LATERAL ({one}) AS found (seconds)",
            [_array(map(_quoted, queues))],
        )
        return [(queue, float(seconds)) for queue, seconds in rows]

    def promote(self, queue: str) -> int:
        return self.run(_promote(_DUE), [queue])

    def promote_all(self, queues: Sequence[str]) -> int:
        if len(queues) < MANY:
            return super().promote_all(queues)
        one = _DUE.replace("%s", "asked.queue")
        due = f"SELECT found.id FROM {_ASKED}, LATERAL ({one}) AS found LIMIT {PROMOTE_SLICE}"
        return self.run(_promote(due), [_array(map(_quoted, queues))])

    # -- wake-up -------------------------------------------------------------------------------

    def watch(self, queues: Sequence[str], holder: Holder, *, listen: bool) -> Wakeup | None:
        if not (self.owned and hasattr(self._raw_connection(), "pgconn")):
            return None  # psycopg2, which Django supports still, has no pgconn
        if not (listen or self.prepare) or self._is_deaf():
            return None
        wakeup = ListenWakeup(self, holder.worker)
        echoed = wakeup.receives_echo()
        if echoed:
            if self.prepare:
                self._prepare_from_now_on()
            if listen:
                return wakeup
        elif echoed is None:
            self._deaf = (self._raw_connection(), time.monotonic() + ASK_AGAIN_SOON)
            logger.info(_NOT_ASKED, self.alias)
        else:
            before, self._deaf = self._deaf, (self._raw_connection(), time.monotonic() + ASK_AGAIN)
            if before is None or before[0] is not self._deaf[0]:
                logger.log(logging.WARNING if listen else logging.INFO, _POOLED, self.alias)
        wakeup.close()
        return None

    def _is_deaf(self) -> bool:
        """Return whether it is known that no notification arrives here."""
        if self._deaf is None:
            return False
        raw, again = self._deaf
        return raw is self._raw_connection() and time.monotonic() < again

    def _prepare_from_now_on(self) -> None:
        """Plan the statement of an exchange once, whatever the statistics say at the moment.

        Planned again each time, it depends on them, and they are of yesterday whenever a queue
        fills: the whole backlog would be sorted for the sake of a hundred rows. Besides, planning
        costs more than taking one job.
        """
        self.rows("SELECT set_config('plan_cache_mode', 'force_generic_plan', false)")
        raw = self._raw_connection()
        if self._prepared is None or self._prepared.raw is not raw:
            self._prepared = Prepared(raw, self.bound or Bound(PATIENCE))


class _Answer(Answer):
    """An exchange that was sent."""

    def __init__(
        self,
        dialect: PostgresDialect,
        sent: Sent,
        read: Callable[[list[tuple[Any, ...]]], Exchange],
    ) -> None:
        self._dialect = dialect
        self._sent = sent
        self._read = read

    def fileno(self) -> int:
        return self._sent.fileno()

    def is_there(self) -> bool:
        with self._dialect.connection.wrap_database_errors:
            return self._sent.is_there()

    def take(self) -> Exchange:
        with self._dialect.connection.wrap_database_errors:
            rows = self._sent.rows()
        return self._read(rows)


_POOLED = (
    'Notifications do not arrive from database "%s": there seems to be a pooler in transaction mode'
    " in front of it. This worker polls, every --sleep seconds, and prepares no statements. Give"
    " DATABASE an alias that reaches PostgreSQL directly, or set LISTEN and PREPARE to False if"
    " this is meant."
)
_NOT_ASKED = (
    'Whether notifications arrive from database "%s" could not be tried, since it had no second'
    " connection for this worker. It polls, and tries again in a while."
)
_IDLE = "FROM djqueue_workers WHERE idle AND alive_until > statement_timestamp() LIMIT 1"
_WAKE = f"SELECT pg_notify('{CHANNEL}', '') {_IDLE}"
_WAKE_QUEUE = f"SELECT pg_notify('{CHANNEL}', %s) {_IDLE}"


_ASKED = "unnest(%s::text[]) WITH ORDINALITY AS asked (queue, place)"
_DUE = (
    "SELECT id FROM jobs WHERE queue = %s AND line IS NULL"
    " AND reserved_by IS NULL AND available_at <= statement_timestamp()"
    f" ORDER BY {PostgresDialect.by_time} LIMIT {PROMOTE_SLICE} FOR UPDATE SKIP LOCKED"
)


def _promote(due: str) -> str:
    """Return the statement of a promotion, materialised for the same reason as `_exchange`."""
    return (
        f"WITH due AS MATERIALIZED ({due}) UPDATE jobs SET line = {PostgresDialect.in_line}"
        " WHERE id = ANY (ARRAY(SELECT id FROM due))"
    )


_IN_LINE = "queue = %s AND line IS NOT NULL"
_IN_LINE_FOR_ANY_PLANNER = "(queue, line) >= (%s, -32768) AND (queue, line) <= (%s, 32767)"
"""The same rows. Without statistics a planner that sees the parameters expects so few of the plain
words that it sorts them all. But these lead it through the delayed rows too, once fewer wait than
are wanted."""


def _asked(
    removals: Sequence[Settlement],
    queues: Sequence[str],
    limit: int,
    holder: Holder,
    *,
    prepared: bool,
) -> tuple[str, list[Any]]:
    """Return the statement of an exchange, and its parameters."""
    handles = [settlement.reservation.handle for settlement in removals]
    queues = queues if limit > 0 else ()
    params: list[Any] = []
    if handles:
        params += [_array(id for id, _ in handles), _array(number for _, number in handles)]
    if len(queues) == 1:
        params += [*queues, limit] if prepared else [*queues, *queues, limit]
    elif queues:
        params += [_array(map(_quoted, queues)), limit, limit]
    if queues:
        params += [holder.hold_for, holder.worker]
    return _exchange(bool(handles), min(len(queues), MANY), prepared=prepared), params


@lru_cache(maxsize=16)
def _exchange(settling: bool, queues: int, *, prepared: bool) -> str:
    """Return one statement that removes ended jobs, then takes from each queue what is still
    wanted. It is the same for any number of queues from two on.

    Rows are found, and locked, as the outer LIMIT asks for them: queue by queue, and none too many.
    `taken` is materialised, or the planner may run a sub-select with LIMIT once a row and take
    more than was asked. It comes to the update as an array, which every plan looks up by key: a
    join would be planned for a tenth of the table, since the limit is not known. Lost settlements
    come as rows with only an id and a number.
    """
    parts: list[str] = []
    selects: list[str] = []
    if settling:
        parts.append(
            "settled AS MATERIALIZED (SELECT * FROM unnest(%s::bigint[], %s::bigint[])"
            " AS s (id, number)), gone AS (DELETE FROM jobs USING settled"
            " WHERE jobs.id = settled.id AND jobs.reservation = settled.number RETURNING jobs.id)"
        )
        nothing = "NULL::text, NULL, NULL, NULL, NULL, NULL, NULL"
        selects.append(
            f"SELECT id, {nothing}, number FROM settled"
            " WHERE NOT EXISTS (SELECT 1 FROM gone WHERE gone.id = settled.id)"
        )
    if queues:
        words = _IN_LINE if prepared else _IN_LINE_FOR_ANY_PLANNER
        if queues == MANY:
            words = words.replace("queue", "jobs.queue").replace("%s", "asked.queue")
        one = (
            f"SELECT id FROM jobs WHERE {words} ORDER BY queue, line, available_at, id"
            " LIMIT %s::bigint FOR UPDATE SKIP LOCKED"
        )
        if queues == MANY:
            one = f"SELECT found.id FROM {_ASKED}, LATERAL ({one}) AS found LIMIT %s::bigint"
        parts.append(f"taken AS MATERIALIZED ({one})")
        parts.append(
            "reserved AS (UPDATE jobs SET line = NULL,"
            f" attempts = {PostgresDialect.one_attempt_more}, reservation = reservation + 1,"
            " reserved_at = statement_timestamp(),"
            " reserved_until = statement_timestamp() + make_interval(secs => %s),"
            f" reserved_by = %s WHERE id = ANY (ARRAY(SELECT id FROM taken))"
            f" RETURNING {_READ}, priority, available_at)"
        )
        # Before the update `line` was minus the priority.
        ordered = "ORDER BY priority DESC, available_at, id"
        selects.append(f"(SELECT {COLUMNS} FROM reserved {ordered})")
    return f"WITH {', '.join(parts)} {' UNION ALL '.join(selects)}"


def _quoted(text: str) -> str:
    """Return a text as an element of an array."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _array(numbers: Iterable[int] | Iterable[str]) -> str:
    """Return an array as PostgreSQL writes it. psycopg takes three times as long to do so."""
    return f"{{{','.join(map(str, numbers))}}}"
