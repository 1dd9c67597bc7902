"""Rows of the outbox, as they are written, taken and deleted: by hand, since the ORM would take
longer over them than the database.
"""

from __future__ import annotations

from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connections, transaction

from djqueue.databases.sql import marks, run, uuid_encoder
from djqueue.drivers.database.calls import make_dialect
from djqueue.drivers.database.vendors.dialect import LONGEST_DELAY, chunks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from djqueue.drivers.database.vendors.dialect import Dialect
    from djqueue.drivers.types import OutboxRow
    from djqueue.models import Outbox

__all__ = ["delete_held", "take_due", "write"]

COLUMNS = (
    "uuid, connection, queue, name, payload, priority, message_group, deduplication_id, push_id,"
    " batch_id, parked, reservation, taken_by, chain, position, delay, debounced, broken, due_at,"
    " taken_until, created_at"
)
KEPT = "ON CONFLICT (uuid, push_id, parked, reservation) DO NOTHING"
KEPT_BY_MYSQL = "ON DUPLICATE KEY UPDATE uuid = uuid"
"""Not `INSERT IGNORE`: that would ignore also what does not fit a column."""


def write(alias: str, rows: Sequence[OutboxRow]) -> None:
    """Write rows. One that exists already stays unchanged."""
    dialect = make_dialect(alias)
    # All or none, as a part of an open transaction too.
    whole = transaction.atomic(using=alias, savepoint=False)
    with whole, dialect.connection.cursor() as cursor:
        if dialect.connection.vendor == "sqlite":
            cursor.executemany(_insert(dialect, 1), [_values(dialect, row) for row in rows])
            return
        left = iter(rows)
        for some in chunks([row.job for row in rows]):
            part = islice(left, len(some))
            values = [value for row in part for value in _values(dialect, row)]
            cursor.execute(_insert(dialect, len(some)), values)


def _insert(dialect: Dialect, count: int) -> str:
    row = f"({'%s, ' * 18}{dialect.later}, {dialect.later}, {dialect.now})"
    kept = KEPT_BY_MYSQL if dialect.connection.vendor == "mysql" else KEPT
    return f"INSERT INTO djqueue_outbox ({COLUMNS}) VALUES {', '.join([row] * count)} {kept}"


def _values(dialect: Dialect, row: OutboxRow) -> tuple[Any, ...]:
    connection, job, parked, reservation, taken_by, hold, chain, position, delay, debounced = row
    id, queue, name, payload, due_in, priority, group, deduplication_id, push_id, _, batch = job
    return (
        dialect.encode_uuid(str(UUID(id))),
        connection,
        queue,
        name,
        payload,
        priority,
        group,
        deduplication_id,
        push_id,
        batch or None,
        parked,
        reservation,
        taken_by,
        chain,
        position,
        delay,
        debounced,
        False,  # broken
        None if chain is not None else min(due_in, LONGEST_DELAY),
        hold,
    )


def take_due(alias: str, by: str, connection: str, limit: int, hold: float) -> list[Outbox] | None:
    """Hold up to `limit` free and due rows of a connection for `by`, and return them in the order
    in which they are due. None: the database returns nothing of rows that it updates.
    """
    from djqueue.models import Outbox

    dialect = make_dialect(alias)
    vendor, now = dialect.connection.vendor, dialect.now
    if vendor == "mysql":
        return None
    ready = (
        f"SELECT id FROM djqueue_outbox WHERE connection = %s AND due_at <= {now}"
        f" AND (taken_until IS NULL OR taken_until <= {now}) ORDER BY due_at, id LIMIT %s"
    )
    if vendor == "sqlite":  # where an UPDATE of no row waits for the one lock as well
        with dialect.connection.cursor() as cursor:
            cursor.execute(ready, [connection, 1])
            if cursor.fetchone() is None:
                return []
    among = f"IN ({ready})"
    if vendor == "postgresql":  # as an array it is read once
        among = f"= ANY (ARRAY({ready} FOR UPDATE SKIP LOCKED))"
    sql = (
        f"UPDATE djqueue_outbox SET taken_until = {dialect.later}, taken_by = %s, debounced = %s"
        f" WHERE id {among} RETURNING *"
    )
    taken = Outbox.objects.using(alias).raw(sql, [hold, by, False, connection, limit])
    return sorted(taken, key=attrgetter("due_at", "pk"))


def delete_held(alias: str, by: str, ids: Sequence[str]) -> None:
    """Delete the rows of those jobs that `by` holds."""
    connection = connections[alias]
    stored = list(map(uuid_encoder(connection), ids))
    sql = f"DELETE FROM djqueue_outbox WHERE uuid IN ({marks(stored)}) AND taken_by = %s"
    run(connection, sql, [*stored, by])
