"""The sign of life. One row a worker is the lease of everything that it holds.

No job row is written between its reserve and its end. A worker whose row is over is gone: others
take its reservations, under a new fencing number, so that whatever it still sends changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from djqueue.drivers.base import Reservation, WorkerIdentity
from djqueue.drivers.database.dialect import Dialect, Holder

KEEP_DEAD = 3600.0
"""Seconds that the row of a dead worker stays, for operators to see."""


def insert(dialect: Dialect, worker: WorkerIdentity, connection: str) -> int:
    """Make the row of `worker`; its primary key."""
    from djqueue.models import Worker

    moment = dialect.rows(f"SELECT {dialect.now}")[0][0]
    row = Worker.objects.using(dialect.alias).create(
        name=worker.name,
        hostname=worker.hostname,
        pid=worker.pid,
        connection=connection,
        queues=",".join(worker.queues),
        started_at=_aware(moment),
        alive_until=_aware(moment),
    )
    extend(dialect, row.pk, worker.lease)
    return int(row.pk)


def extend(dialect: Dialect, worker: int, lease: float) -> bool:
    """Alive for `lease` more seconds; False if others have removed the row."""
    sql = f"UPDATE djqueue_workers SET alive_until = {dialect.later} WHERE id = %s"
    return dialect.run(sql, [lease, worker]) == 1


def delete(dialect: Dialect, worker: int) -> None:
    """The worker has ended and holds nothing."""
    dialect.run("DELETE FROM djqueue_workers WHERE id = %s", [worker])


def lost(dialect: Dialect, reservations: Sequence[Reservation]) -> set[str]:
    """Which of `reservations` are no longer under their number."""
    if not reservations:
        return set()
    by_handle = {reservation.handle: reservation.id for reservation in reservations}
    marks = ", ".join(["%s"] * len(by_handle))
    rows = dialect.rows(
        f"SELECT id, reservation FROM jobs WHERE id IN ({marks})", [id for id, _ in by_handle]
    )
    held = {(id, number) for id, number in rows}
    return {id for handle, id in by_handle.items() if handle not in held}


def recover(dialect: Dialect, holder: Holder, limit: int) -> list[Reservation]:
    """Take over what the dead hold; remove rows of those long dead that hold nothing."""
    dead = [
        row[0]
        for row in dialect.rows(
            f"SELECT id FROM djqueue_workers WHERE alive_until < {dialect.now} AND id <> %s",
            [holder.worker],
        )
    ]
    taken: list[Reservation] = []
    for worker in [*dead, None]:
        if len(taken) < limit:
            taken += dialect.take_over(worker, limit - len(taken), holder)
    if dead and not taken:
        dialect.run(
            f"DELETE FROM djqueue_workers WHERE alive_until < {dialect.later} AND NOT EXISTS"
            " (SELECT 1 FROM jobs WHERE jobs.reserved_by = djqueue_workers.id)",
            [-KEEP_DEAD],
        )
    return taken


def _aware(moment: datetime | str) -> datetime:
    """A time as the vendor's cursor returns it, for the ORM."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
