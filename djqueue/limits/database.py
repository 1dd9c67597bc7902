"""Slots in a database: a row each, taken by one conditional UPDATE of the row that is free longest.

A slot is used at most once in its period, and a limit has as many slots as uses it allows: so there
are never more uses in any period, however its beginning is chosen. Rows appear as they are used.
Above `MOST_ROWS` a row stands for several uses, and is free again a period after the last of them:
as exact, while a little of what is allowed may stay unused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from django.db import DatabaseError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from djqueue.databases import sql as statements
from djqueue.databases.transactions import in_transaction
from djqueue.errors import QueueUnavailable
from djqueue.limits.values import HORIZON, Holder, Rate, Room
from djqueue.limits.vendors import words_of

__all__ = ["DatabaseStore"]

MOST_ROWS = 1000
TRIES = 20
"""How often a slot is looked for that others take at the same time."""
_DEADLOCKS = ("40001", "40P01", 1213, 1205)
"""Codes of a database that chose this statement to give way; it may be tried again."""

Answer = TypeVar("Answer")


class _Taken(NamedTuple):
    """How a row is chosen, and what is written into it."""

    where: str
    given: Sequence[Any]
    order: str
    sets: str
    values: Sequence[Any]


class DatabaseStore:
    """Slots in the database `alias`, by its clock."""

    def __init__(self, alias: str, most_rows: int = MOST_ROWS) -> None:
        self._alias = alias
        self._most_rows = most_rows

    # -- throttles -----------------------------------------------------------------------------

    def take(self, rate: Rate) -> float | None:
        """Use the limit once. None, or the seconds until that may be possible."""
        return self._ask(lambda slots: slots.take(rate))

    def look(self, rate: Rate) -> float:
        """The seconds until it may be used, and 0 where it may be now; nothing is used."""
        return self._ask(lambda slots: slots.look(rate))

    def used(self, rate: Rate) -> bool:
        """Whether it was used within its period."""
        return self._ask(lambda slots: slots.used(rate))

    # -- funnels -------------------------------------------------------------------------------

    def enter(self, room: Room, holder: Holder) -> float | None:
        """Hold a slot. None, or the seconds for which one is held on average."""
        return self._ask(lambda slots: slots.enter(room, holder))

    def leave(self, room: Room, holder: Holder) -> None:
        """Give it back, unless another holder has it by now."""
        self._ask(lambda slots: slots.leave("name = %s AND holder = %s", [room.name, holder.token]))

    def leave_for(self, jobs: Iterable[tuple[str, int]], since: float = 0.0) -> None:
        """Give back what runs of jobs hold whose processes are gone, as `Store.leave_for`."""

        def leave(slots: _Slots) -> None:
            for job, run in jobs:
                slots.leave_for(job, run, since)

        self._ask(leave)

    # -- both ----------------------------------------------------------------------------------

    def place(self, name: str, first: float, step: float) -> float | None:
        """Book the next free time for a job that was refused, as `Store.place`."""
        return self._ask(lambda slots: slots.place(name, first, step))

    def clear(self, name: str) -> None:
        """Forget that it was ever used or held."""
        self._ask(lambda slots: slots.run("DELETE FROM djqueue_slots WHERE name = %s", [name]))

    def _ask(self, question: Callable[[_Slots], Answer]) -> Answer:
        try:
            with _committing(self._alias) as connection:
                slots = _Slots(connection, self._most_rows)
                for _ in range(TRIES):
                    try:
                        return question(slots)
                    except OperationalError as error:
                        if not _gave_way(error) or connection.in_atomic_block:
                            raise
                return question(slots)
        except DatabaseError as error:
            raise QueueUnavailable(
                f'The limits in database "{self._alias}" could not be asked: {error}'
            ) from error


class _Slots:
    """The statements, on one connection."""

    def __init__(self, connection: BaseDatabaseWrapper, most_rows: int) -> None:
        self._connection = connection
        self._most_rows = most_rows
        self._words = words_of(connection.vendor)

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run a statement. Return the number of rows that it changed."""
        return statements.run(self._connection, sql, params)

    def row(self, sql: str, params: Sequence[Any]) -> tuple[Any, ...] | None:
        """Return the first row of an answer."""
        return next(iter(statements.rows(self._connection, sql, params)), None)

    def uuid(self, job: str | None) -> str | None:
        """Return the id of a job as this database stores it."""
        return job and statements.uuid_encoder(self._connection)(job)

    def take(self, rate: Rate) -> float | None:
        """As `DatabaseStore.take`."""
        rows = min(rate.allow, self._most_rows)
        wait = 0.0
        for _ in range(TRIES):
            if rate.allow > rows and self._update(self._use_more(rate, rows)):
                return None
            if self._update(self._use_first(rate, rows)):
                return None
            place = self._next_place(rate.name, rows)
            if place is not None:
                if self._insert(rate.name, place, (*_NO_HOLDER, rate.every)):
                    return None
                continue
            wait = self._wait(rate, rows)
            if wait > 0:
                return wait
        return wait

    def _use_first(self, rate: Rate, rows: int) -> _Taken:
        where = f"name = %s AND place BETWEEN 0 AND %s AND taken_at <= {self._later()}"
        given = [rate.name, rows - 1, -rate.every]
        sets = f"uses = 1, taken_at = {self._words.now}, free_at = {self._later()}"
        return _Taken(where, given, "taken_at", sets, [rate.every])

    def _use_more(self, rate: Rate, rows: int) -> _Taken:
        """A slot that stands for several uses, some of which are left. The first ones stand for one
        more, where the number does not divide.
        """
        each, more = divmod(rate.allow, rows)
        where = (
            f"name = %s AND place BETWEEN 0 AND %s AND taken_at > {self._later()}"
            " AND uses < %s + CASE WHEN place < %s THEN 1 ELSE 0 END"
        )
        given = [rate.name, rows - 1, -rate.every, each, more]
        sets = f"uses = uses + 1, taken_at = {self._words.now}, free_at = {self._later()}"
        return _Taken(where, given, "taken_at DESC", sets, [rate.every])

    def look(self, rate: Rate) -> float:
        """As `DatabaseStore.look`."""
        rows = min(rate.allow, self._most_rows)
        if self._next_place(rate.name, rows) is not None:
            return 0.0
        if rate.allow > rows:
            partly = self._use_more(rate, rows)
            sql = f"SELECT 1 FROM djqueue_slots WHERE {partly.where} LIMIT 1"
            if self.row(sql, partly.given):
                return 0.0
        return max(0.0, self._wait(rate, rows))

    def used(self, rate: Rate) -> bool:
        """As `DatabaseStore.used`."""
        sql = (
            "SELECT 1 FROM djqueue_slots"
            f" WHERE name = %s AND taken_at > {self._later()} AND place >= 0 LIMIT 1"
        )
        return self.row(sql, [rate.name, -rate.every]) is not None

    def _wait(self, rate: Rate, rows: int) -> float:
        since = self._words.since.format("taken_at", self._words.now)
        found = self.row(
            f"SELECT {since} FROM djqueue_slots WHERE name = %s AND place BETWEEN 0 AND %s"
            " ORDER BY taken_at LIMIT 1",
            [rate.name, rows - 1],
        )
        return rate.every - float(found[0]) if found else 0.0

    def enter(self, room: Room, holder: Holder) -> float | None:
        """As `DatabaseStore.enter`."""
        job = self.uuid(holder.job)
        held = [holder.token, job, holder.run, holder.life]
        # What another run of the same job holds is free: its process is gone.
        where = (
            "name = %s AND place BETWEEN 0 AND %s AND (holder = '' OR free_at <="
            f" {self._words.now} OR (job = %s AND SUBSTR(holder, 1, 16) <> %s))"
        )
        given = [room.name, room.limit - 1, job, holder.prefix]
        sets = (
            "holder = %s, job = %s, run = %s,"
            f" taken_at = {self._words.now}, free_at = {self._later()}"
        )
        for _ in range(TRIES):
            if self._update(_Taken(where, given, "place", sets, held)):
                return None
            place = self._next_place(room.name, room.limit)
            if place is None:
                break
            if self._insert(room.name, place, held):
                return None
        return self._held_for(room)

    def _held_for(self, room: Room) -> float:
        until = f"CASE WHEN holder = '' THEN free_at ELSE {self._words.now} END"
        lasted = self._words.since.format("taken_at", until)
        found = self.row(
            f"SELECT AVG({lasted}) FROM djqueue_slots WHERE name = %s AND place >= 0", [room.name]
        )
        return max(0.0, float(found[0] or 0)) if found else 0.0

    def leave(self, where: str, given: Sequence[Any]) -> None:
        """Give back the slots that `where` says."""
        self.run(
            f"UPDATE djqueue_slots SET holder = '', job = NULL, free_at = {self._words.now}"
            f" WHERE holder <> '' AND {where}",
            given,
        )

    def leave_for(self, job: str, run: int, since: float) -> None:
        """As `DatabaseStore.leave_for`, for one job."""
        where = f"job = %s AND run <= %s AND taken_at <= {self._later()}"
        self.leave(where, [self.uuid(job), run, -since])

    def place(self, name: str, first: float, step: float) -> float | None:
        """As `DatabaseStore.place`."""
        earliest = self._later()
        where = f"name = %s AND place = -1 AND taken_at < {earliest}"
        booked = f"CASE WHEN taken_at < {earliest} THEN {earliest} ELSE taken_at END"
        sql = f"UPDATE djqueue_slots SET taken_at = {self._words.plus.format(booked)} WHERE {where}"
        since = self._words.since.format(self._words.now, "taken_at")
        with _together(self._connection):
            if not self.run(sql, [first, first, step, name, HORIZON]):
                if not self._insert(name, -1, (*_NO_HOLDER, 0.0)):
                    return None
                self.run(sql, [first, first, step, name, HORIZON])
            found = self.row(
                f"SELECT {since} FROM djqueue_slots WHERE name = %s AND place = -1", [name]
            )
        return None if found is None else float(found[0]) - step

    # -- parts ---------------------------------------------------------------------------------

    def _later(self) -> str:
        return self._words.plus.format(self._words.now)

    def _update(self, taken: _Taken) -> bool:
        end = self._words.one.format(where=taken.where, order=taken.order)
        sql = f"UPDATE djqueue_slots SET {taken.sets} {end}"
        return self.run(sql, [*taken.values, *taken.given]) == 1

    def _next_place(self, name: str, rows: int) -> int | None:
        """A place below `rows` that has no row; None where all have one."""
        where = "FROM djqueue_slots WHERE name = %s AND place BETWEEN 0 AND %s"
        known = self.row(f"SELECT COUNT(*), MAX(place) {where}", [name, rows - 1])
        count, last = known if known and known[0] else (0, -1)
        if count >= rows:
            return None
        if last + 1 < rows:
            return int(last) + 1
        # Rows that were pruned have left gaps.
        found = statements.rows(self._connection, f"SELECT place {where}", [name, rows - 1])
        there = {row[0] for row in found}
        return next(place for place in range(rows) if place not in there)

    def _insert(self, name: str, place: int, held: Sequence[Any]) -> bool:
        """A row that was just taken; `held` ends with its seconds. False where it is there."""
        before, after = self._words.ignore
        sql = (
            f"{before} djqueue_slots (name, place, uses, holder, job, run, free_at, taken_at)"
            f" VALUES (%s, %s, 1, %s, %s, %s, {self._later()}, {self._words.now}) {after}"
        )
        return self.run(sql, [name, place, *held]) == 1


_NO_HOLDER = ("", None, 0)
"""Holder, job and run of a slot that is only used."""


@contextmanager
def _committing(alias: str) -> Iterator[BaseDatabaseWrapper]:
    """A connection on which each statement is committed at once. A use that a rollback takes back
    would not have been counted, and others skip a slot that an open transaction has locked.

    Inside a transaction that is one of its own, for the moment. SQLite has one writer, so there it
    is part of the transaction. The transactions that Django's `TestCase` is in do not count.
    """
    connection = connections[alias]
    if connection.vendor != "sqlite":
        connection.ensure_connection()
    if connection.vendor == "sqlite" or not in_transaction(connection):
        yield connection
        return
    own = connection.copy()
    try:
        yield own
    finally:
        own.close()


@contextmanager
def _together(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Two statements in one transaction, on a connection that may not be one of the settings'."""
    if connection.in_atomic_block:
        yield
        return
    connection.set_autocommit(False)
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    else:
        connection.commit()
    finally:
        connection.set_autocommit(True)


def _gave_way(error: DatabaseError) -> bool:
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return (state or (error.args[0] if error.args else None)) in _DEADLOCKS
