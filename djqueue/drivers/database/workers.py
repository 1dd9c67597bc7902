"""The sign of life. One row a worker is the lease of everything that it holds.

No job row is written between its reserve and its end. A worker whose row has expired is gone:
others take its reservations, under a new fencing number, so that whatever it still sends changes
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

from django.db import DatabaseError

from djqueue.databases.errors import is_refusal
from djqueue.databases.now import UtcNow, aware
from djqueue.databases.sql import marks
from djqueue.drivers.base import Reservation, WorkerIdentity
from djqueue.drivers.database.vendors.dialect import Dialect, Holder
from djqueue.drivers.slices import slices
from djqueue.drivers.store_clock import StoreClock

KEEP_DEAD = 3600.0
"""Seconds that the row of a dead worker stays, for operators to see."""


def insert(dialect: Dialect, worker: WorkerIdentity, connection: str) -> int:
    """Insert the row of `worker`. Return its primary key."""
    from djqueue.models import Worker

    row = Worker(
        name=worker.name[:255],
        hostname=worker.hostname[:255],
        pid=worker.pid,
        connection=connection,
        queues=",".join(worker.queues),
        started_at=UtcNow(),
        alive_until=UtcNow() + timedelta(seconds=worker.lease),
    )
    try:
        row.save(using=dialect.alias, force_insert=True)
    except DatabaseError as error:
        if not is_refusal(error):
            raise
        # A name that the database has no letters for.
        row.name = row.name.encode("ascii", "backslashreplace").decode()[:255]
        row.save(using=dialect.alias, force_insert=True)
    return int(row.pk)


def extend(dialect: Dialect, key: int, worker: WorkerIdentity) -> bool:
    """Renew the worker's lease. Return False if others have removed the row, or if it is another
    worker's by now: a table that was emptied may give numbers again.
    """
    sql = (
        f"UPDATE djqueue_workers SET alive_until = {dialect.later}"
        " WHERE id = %s AND pid = %s AND hostname = %s"
    )
    return dialect.run(sql, [worker.lease, key, worker.pid, worker.hostname[:255]]) == 1


def look_at(clock: StoreClock, dialect: Dialect) -> None:
    """Show the store's clock to `clock`."""
    from djqueue.models import Worker

    asked = time.monotonic()
    rows = Worker.objects.using(dialect.alias).order_by("pk")
    shown = aware(rows.values_list(UtcNow(), flat=True).first())
    if shown is not None:
        clock.shows(shown.timestamp(), asked)


def move(dialect: Dialect, reservations: Sequence[Reservation], old: int, new: int) -> None:
    """Move what the worker holds under the key of its `old` row to the `new` one."""
    ids = [reservation.handle[0] for reservation in reservations]
    for some in slices(ids, 500):
        sql = f"UPDATE jobs SET reserved_by = %s WHERE id IN ({marks(some)}) AND reserved_by = %s"
        dialect.run(sql, [new, *some, old])


def delete(dialect: Dialect, worker: int) -> None:
    """Delete the row of a worker that has ended and holds nothing."""
    dialect.run("DELETE FROM djqueue_workers WHERE id = %s", [worker])


def lost(dialect: Dialect, reservations: Sequence[Reservation]) -> set[str]:
    """Return which of `reservations` are no longer under their number."""
    if not reservations:
        return set()
    by_handle = {reservation.handle: reservation.id for reservation in reservations}
    rows = dialect.rows(
        f"SELECT id, reservation FROM jobs WHERE id IN ({marks(by_handle)})",
        [id for id, _ in by_handle],
    )
    held = {(id, number) for id, number in rows}
    return {id for handle, id in by_handle.items() if handle not in held}


def recover(dialect: Dialect, holder: Holder, limit: int, late: float) -> list[Reservation]:
    """Take over what workers hold that have been dead for `late` seconds. Remove rows of workers
    that are long dead and hold nothing.
    """
    dead = [
        row[0]
        for row in dialect.rows(
            f"SELECT id FROM djqueue_workers WHERE alive_until < {dialect.later} AND id <> %s",
            [-late, holder.worker],
        )
    ]
    taken: list[Reservation] = []
    for worker in [*dead, None]:
        # Read first: a write would wait for a lock on the table, although there is
        # nothing to write.
        if len(taken) < limit and dialect.holds_anything(worker):
            taken += dialect.take_over(worker, limit - len(taken), holder)
    if dead and not taken:
        _remove_long_dead(dialect)
    return taken


def _remove_long_dead(dialect: Dialect) -> None:
    where = (
        f"alive_until < {dialect.later} AND NOT EXISTS"
        " (SELECT 1 FROM jobs WHERE jobs.reserved_by = djqueue_workers.id)"
    )
    if dialect.rows(f"SELECT 1 FROM djqueue_workers WHERE {where} LIMIT 1", [-KEEP_DEAD]):
        dialect.run(f"DELETE FROM djqueue_workers WHERE {where}", [-KEEP_DEAD])
