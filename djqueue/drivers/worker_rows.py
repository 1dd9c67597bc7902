"""The row of a worker in `djqueue_workers`. For the database driver it is the lease as well; those
of workers of other stores are for operators alone.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import DatabaseError

from djqueue.databases.errors import is_refusal
from djqueue.databases.now import UtcNow

if TYPE_CHECKING:
    from djqueue.drivers.base import WorkerIdentity

KEEP_DEAD = 3600.0
"""Seconds that the row of a dead worker stays, for operators to see."""


def insert(alias: str, worker: WorkerIdentity, connection: str, seconds: float) -> int:
    """Make the row of `worker`, which is alive for `seconds`; its primary key."""
    from djqueue.models import Worker

    row = Worker(
        name=worker.name[:255],
        hostname=worker.hostname[:255],
        pid=worker.pid,
        connection=connection,
        queues=",".join(worker.queues),
        started_at=UtcNow(),
        alive_until=UtcNow() + timedelta(seconds=seconds),
    )
    try:
        row.save(using=alias, force_insert=True)
    except DatabaseError as error:
        if not is_refusal(error):
            raise
        # A name that the database has no letters for.
        row.name = row.name.encode("ascii", "backslashreplace").decode()[:255]
        row.save(using=alias, force_insert=True)
    return int(row.pk)
