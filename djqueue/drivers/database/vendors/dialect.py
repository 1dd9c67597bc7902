"""What the three database vendors share: the statements that differ only in how they tell time.

Each vendor's file adds its own `exchange` and `take_over`. Everything runs through `rows` and
`run`, which use Django's cursor, so that a push is part of the caller's transaction.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from django.db import connections, transaction

from djqueue.databases import sql as statements
from djqueue.databases.connection import BoundConnection
from djqueue.drivers.base import (
    Answer,
    Exchange,
    OutgoingJob,
    Reservation,
    Settlement,
    Verdict,
    Wakeup,
)
from djqueue.drivers.slices import slices

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from djqueue.databases.bound import Bound

Answered = TypeVar("Answered")

PROMOTE_SLICE = 500
"""Rows a promotion moves at once, so that no statement holds many rows for long."""

CHUNK, CHUNK_LENGTH = 50, 400_000
"""Jobs, and characters of their payloads, in one INSERT: servers take statements of a limited size,
of a mebibyte say."""
LONGEST_DELAY = 5000 * 365 * 86400.0
"""Seconds. What is due later than the year 9999 can be stored here, and read there not."""
ASK_AT_ONCE = 100
"""Queues that one statement asks about, where it cannot be given a list."""

COLUMNS = "id, uuid, queue, name, payload, attempts, interruptions, history, reservation"
"""What a reservation is made of, in the order of `Dialect.reservation`."""


PUSHED = (
    "queue", "name", "payload", "priority", "available_at", "line", "attempts", "interruptions",
    "history", "created_at", "push_id",
)  # fmt: skip
"""What a push writes, but the id of the job and the number; `push_id` is last."""


class Kind(NamedTuple):
    """Which statement pushes a job."""

    delayed: bool
    again: bool
    """It is not the first push of the job."""
    member: bool
    """It is a member of a batch."""

    @classmethod
    def of(cls, job: OutgoingJob) -> Kind:
        """Return the kind of `job`."""
        return cls(bool(job.delay), bool(job.push_id), bool(job.batch))


class Holder(NamedTuple):
    """The worker that reserves."""

    worker: int
    """Primary key of its row."""
    hold_for: float
    """Seconds after which any worker may take a reservation whose worker has no row any more."""


class Dialect(ABC):
    """The statements of one vendor, on one database alias."""

    now: ClassVar[str]
    """SQL for the store's clock at this statement."""
    later: ClassVar[str]
    """SQL for the store's clock plus a parameter in seconds."""
    ignore_duplicate: ClassVar[str]
    """The clause that makes a push of an id that is there already change nothing."""
    replace_duplicate: ClassVar[str] = (
        "ON CONFLICT (uuid) DO UPDATE SET "
        + ", ".join(f"{column} = excluded.{column}" for column in PUSHED)
        + ", reserved_at = NULL, reserved_until = NULL, reserved_by = NULL, batch_id = NULL"
        ", reservation = jobs.reservation + 1 WHERE jobs.push_id <> excluded.push_id"
    )
    """The clause that puts another push of a job in the place of what is there: a worker that holds
    that finds another number."""
    by_time: ClassVar[str] = "available_at"
    """The order of delayed rows, in words that let the planner use the index."""
    by_line: ClassVar[str] = ""
    by_holder: ClassVar[str] = ""
    """Hints behind the table's name, where the planner needs them to take the right index."""
    # No number in a row may make the statement fail that is about many rows.
    one_attempt_more: ClassVar[str] = "LEAST(attempts, 2147483646) + 1"
    one_attempt_less: ClassVar[str] = "GREATEST(attempts, 1) - 1"
    one_interruption_more: ClassVar[str] = "LEAST(interruptions, 2147483646) + 1"
    in_line: ClassVar[str] = "-GREATEST(priority, -32767)"
    """SQL for the value of `line` in a row that may be reserved."""
    columns: ClassVar[str] = COLUMNS

    def __init__(self, alias: str, *, owned: bool = False, prepare: bool = True) -> None:
        self.alias = alias
        self.owned = owned
        """The connection is a worker's own: statements may use its session."""
        self.prepare = prepare

    # -- execution -----------------------------------------------------------------------------

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """Django's connection of this thread."""
        return connections[self.alias]

    @property
    def bound(self) -> Bound | None:
        """How long calls may wait on a worker's own connection."""
        connection = self.connection
        return connection.bound if isinstance(connection, BoundConnection) else None

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement that returns rows."""
        return statements.rows(self.connection, sql, params)

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run a statement. Return the number of rows that it changed."""
        return statements.run(self.connection, sql, params)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Open one transaction around the driver's own statements; join an open one."""
        if self.connection.in_atomic_block:
            yield
        else:
            with transaction.atomic(using=self.alias):
                yield

    @cached_property
    def encode_uuid(self) -> Callable[[str], str]:
        """Return a uuid as this database stores it."""
        return statements.uuid_encoder(self.connection)

    def repeat(self, action: Callable[[], Answered]) -> Answered:
        """What `action` returns. A vendor that undoes one of two transactions now and then tries
        again, unless a transaction is open.
        """
        return action()

    # -- push ----------------------------------------------------------------------------------

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        """Insert jobs. Ids that exist already change nothing."""
        if len(jobs) == 1:
            job = jobs[0]
            kind = Kind.of(job)
            self.run(self._insert(kind, 1), self._insert_values(job, kind))
        else:
            self.push_many(jobs)

    def push_many(self, jobs: Sequence[OutgoingJob]) -> None:
        """Insert in multi-row statements, in order."""
        with self.transaction():
            for kind, some in _runs(jobs):
                for chunk in chunks(some):
                    values = [value for job in chunk for value in self._insert_values(job, kind)]
                    self.run(self._insert(kind, len(chunk)), values)

    def too_large(self, jobs: Sequence[OutgoingJob]) -> dict[str, str]:
        """Return those of `jobs` that were too large for the connection that broke off, and why."""
        return {}

    @classmethod
    @lru_cache(maxsize=512)
    def _insert(cls, kind: Kind, count: int) -> str:
        available_at = cls.later if kind.delayed else cls.now
        columns = (
            "queue, name, payload, uuid, priority, available_at, line, attempts,"
            " reservation, interruptions, history, created_at"
        )
        row = f"%s, %s, %s, %s, %s, {available_at}, %s, 0, 0, 0, '', {cls.now}"
        duplicate = cls.ignore_duplicate
        if kind.again:
            columns, row, duplicate = f"{columns}, push_id", f"{row}, %s", cls.replace_duplicate
        if kind.member:
            columns, row = f"{columns}, batch_id", f"{row}, %s"
        rows = ", ".join([f"({row})"] * count)
        return f"INSERT INTO jobs ({columns}) VALUES {rows} {duplicate}"

    def _insert_values(self, job: OutgoingJob, kind: Kind) -> tuple[Any, ...]:
        values: tuple[Any, ...]
        values = (job.queue, job.name, job.payload, self.encode_uuid(job.id), job.priority)
        values += (job.delay, None) if kind.delayed else (-job.priority,)
        if kind.again:
            values = (*values, job.push_id)
        return (*values, job.batch) if kind.member else values

    # -- settle and reserve --------------------------------------------------------------------

    @abstractmethod
    def exchange(
        self, removals: Sequence[Settlement], queues: Sequence[str], limit: int, holder: Holder
    ) -> Exchange:
        """Delete the rows of `removals` and reserve up to `limit` rows, in one transaction."""

    def begin(
        self, removals: Sequence[Settlement], queues: Sequence[str], limit: int, holder: Holder
    ) -> Answer | None:
        """Send an `exchange`. Return None if this vendor has to wait for the answer, or if nothing
        is asked.
        """
        return None

    def put_back(self, settlement: Settlement) -> bool:
        """Settle a verdict that keeps the row. Return False if the reservation was lost. The
        fencing number grows here too: whatever the old holder still sends finds another number.
        """
        id, number = settlement.reservation.handle
        verdict = settlement.verdict
        sets = ["reserved_at = NULL, reserved_until = NULL, reserved_by = NULL"]
        sets.append("reservation = reservation + 1")
        params: list[Any] = []
        if verdict is Verdict.RELEASE and settlement.delay > 0:
            sets.append(f"line = NULL, available_at = {self.later}")
            params.append(min(settlement.delay, LONGEST_DELAY))
        elif verdict is Verdict.RELEASE:
            sets.append(f"line = {self.in_line}, available_at = {self.now}")
        else:
            sets.append(f"line = {self.in_line}")
        if verdict is not Verdict.RELEASE or not settlement.charged:
            sets.append(f"attempts = {self.one_attempt_less}")
        if verdict is Verdict.INTERRUPTED:
            sets.append(f"interruptions = {self.one_interruption_more}")
        if settlement.history is not None:
            sets.append("history = %s")
            params.append(settlement.history)
        sql = f"UPDATE jobs SET {', '.join(sets)} WHERE id = %s AND reservation = %s"
        return self.run(sql, [*params, id, number]) == 1

    @abstractmethod
    def take_over(self, dead: int | None, limit: int, holder: Holder) -> list[Reservation]:
        """Make reservations of the dead worker `dead` ours, under a new fencing number.

        None stands for expired reservations whose worker has no row at all.
        """

    def holds_anything(self, dead: int | None) -> bool:
        """Return whether `take_over` would find something that no other worker is taking."""
        gone, params = (self.orphaned, []) if dead is None else ("reserved_by = %s", [dead])
        sql = f"SELECT 1 FROM jobs{self.by_holder} WHERE {gone} ORDER BY reserved_by LIMIT 1"
        return bool(self.rows(sql, params))

    @property
    def orphaned(self) -> str:
        """Return SQL for rows whose reservation has expired, and whose worker has no row at all."""
        return (
            f"reserved_by IS NOT NULL AND reserved_until < {self.now}"
            " AND NOT EXISTS (SELECT 1 FROM djqueue_workers w WHERE w.id = jobs.reserved_by)"
        )

    def held_by(self, worker: int) -> list[Reservation]:
        """Return everything that `worker` holds."""
        sql = f"SELECT {self.columns} FROM jobs WHERE reserved_by = %s"
        return [self.reservation(row) for row in self.rows(sql, [worker])]

    def reservation(self, row: Sequence[Any]) -> Reservation:
        """Return a reservation from a row of `COLUMNS`, read after the update."""
        id, uuid, queue, name, payload, attempts, interruptions, history, number = row[:9]
        return Reservation(
            self.decode_uuid(uuid),
            queue,
            name,
            payload,
            attempts,
            interruptions,
            history,
            (id, number),
        )

    def decode_uuid(self, stored: Any) -> str:
        """Return the text form of a uuid as this database returns it."""
        text = str(stored)
        if len(text) == 32:
            return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
        return text

    # -- time ----------------------------------------------------------------------------------

    def next_due(self, queues: Sequence[str]) -> list[tuple[str, float]]:
        """Return those of `queues` that have delayed rows, with the seconds until the first one is
        due; negative if it is due already.
        """
        found: list[tuple[str, float]] = []
        for some in slices(queues, ASK_AT_ONCE):
            each = [self._next_due(number) for number in range(len(some))]
            if len(each) > 1:  # not all take LIMIT in a part of a UNION
                each = [f"SELECT * FROM ({one}) AS q{number}" for number, one in enumerate(each)]
            rows = self.rows(" UNION ALL ".join(each), list(some))
            found += [(some[place], float(seconds)) for place, seconds in rows]
        return found

    def _next_due(self, place: int) -> str:
        return (
            f"SELECT {place}, {self.seconds_until('available_at')} FROM jobs{self.by_line}"
            " WHERE queue = %s AND line IS NULL AND reserved_by IS NULL"
            f" ORDER BY {self.by_time} LIMIT 1"
        )

    @abstractmethod
    def promote(self, queue: str) -> int:
        """Put rows of `queue` that are due in line, at most `PROMOTE_SLICE`. Return their
        number.
        """

    def promote_all(self, queues: Sequence[str]) -> int:
        """Do as `promote` for as many of `queues`, in order, as a slice and the call's time
        allow.
        """
        moved, bound = 0, self.bound
        for queue in queues:
            moved += self.promote(queue)
            if moved >= PROMOTE_SLICE or (bound and bound.left() < bound.seconds / 2):
                break
        return moved

    @abstractmethod
    def seconds_until(self, column: str) -> str:
        """Return SQL for the seconds from the store's clock to `column`."""

    # -- wake-up -------------------------------------------------------------------------------

    def watch(self, queues: Sequence[str], holder: Holder, *, listen: bool) -> Wakeup | None:
        """Return how this vendor tells that something was pushed."""
        return None


def _runs(jobs: Sequence[OutgoingJob]) -> Iterator[tuple[Kind, list[OutgoingJob]]]:
    """Return neighbours of one kind, in order. One statement replaces no row twice."""
    for kind, run in groupby(jobs, Kind.of):
        some = list(run)
        yield kind, list({job.id: job for job in some}.values()) if kind.again else some


def chunks(jobs: Sequence[OutgoingJob]) -> Iterator[Sequence[OutgoingJob]]:
    """Return parts of `CHUNK` jobs and `CHUNK_LENGTH` characters at most, or of one job."""
    chunk: list[OutgoingJob] = []
    length = 0
    for job in jobs:
        length += len(job.payload)
        if chunk and (len(chunk) == CHUNK or length > CHUNK_LENGTH):
            yield chunk
            chunk, length = [], len(job.payload)
        chunk.append(job)
    if chunk:
        yield chunk
