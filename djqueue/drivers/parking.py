"""Jobs that wait in SQL for a store that cannot keep them yet: parked rows of `djqueue_outbox`.

Any worker moves those that are due to their store: see `djqueue.bus.outbox`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import DatabaseError, connections
from django.db.models import QuerySet

from djqueue.conf import settings
from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.now import UtcNow
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from djqueue.models import Outbox

__all__ = ["clear", "count", "insert", "park", "row"]

AT_ONCE = 50
"""Rows in a statement: SQLite may take 999 parameters."""


def park(alias: str, connection: str, jobs: Sequence[OutgoingJob], reservation: int = 0) -> None:
    """Keep `jobs` until their delay is over, by the database's clock; part of an open transaction
    on the alias. The same push of a job, released by the same `reservation`, is kept once.
    """
    insert(alias, [row(connection, job, parked=True, reservation=reservation) for job in jobs])


def insert(alias: str, rows: Sequence[Outbox]) -> None:
    """Write rows; one that is there already stays as it is."""
    from djqueue.models import Outbox

    # MySQL looks at every unique key, and refuses to be told which one.
    told = connections[alias].features.supports_update_conflicts_with_target
    key = ["uuid", "push_id", "parked", "reservation"]
    try:
        Outbox.objects.using(alias).bulk_create(
            rows,
            batch_size=AT_ONCE,
            # Not `ignore_conflicts`: MySQL would ignore also what does not fit a column.
            update_conflicts=True,
            unique_fields=key if told else None,
            update_fields=["uuid"],
        )
    except DatabaseError as error:
        raise QueueUnavailable(
            f'Database "{alias}" could not keep jobs for connection "{rows[0].connection}": {error}'
        ) from error


def row(
    connection: str,
    job: OutgoingJob,
    *,
    parked: bool,
    reservation: int = 0,
    written_by: str = "",
) -> Outbox:
    """A row for `job`, due when its delay is over."""
    from djqueue.models import Outbox

    return Outbox(
        connection=connection,
        queue=job.queue,
        uuid=job.id,
        name=job.name,
        payload=job.payload,
        priority=job.priority,
        message_group=job.message_group,
        deduplication_id=job.deduplication_id,
        due_at=UtcNow() + timedelta(seconds=job.delay),
        created_at=UtcNow(),
        parked=parked,
        push_id=job.push_id,
        reservation=reservation,
        taken_by=written_by,
    )


def count(alias: str, connection: str, queue: str) -> int:
    """How many jobs wait for a queue: in this database, and in those that have jobs."""
    return sum(rows.count() for rows in _waiting(alias, connection, queue))


def clear(alias: str, connection: str, queue: str) -> int:
    """Delete the jobs that wait for a queue; how many."""
    return sum(rows._raw_delete(rows.db) for rows in _waiting(alias, connection, queue))


def _waiting(alias: str, connection: str, queue: str) -> Iterator[QuerySet[Outbox]]:
    from djqueue.models import Outbox

    for each in dict.fromkeys((alias, *settings().databases)):
        yield Outbox.objects.using(each).filter(connection=connection, queue=queue)
