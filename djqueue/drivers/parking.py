"""Jobs that wait in SQL for a store that cannot keep them yet: rows of `djqueue_outbox`.

Any worker moves those that are due to their store: see `djqueue.bus.outbox`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import DatabaseError
from django.db.models import Q

from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.now import UtcNow
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from djqueue.models import Outbox

AT_ONCE = 100


def park(alias: str, connection: str, jobs: Sequence[OutgoingJob]) -> None:
    """Keep `jobs` until their delay is over, by the database's clock; part of an open transaction
    on the alias.
    """
    from djqueue.models import Outbox

    rows = [_row(connection, job) for job in jobs]
    try:
        Outbox.objects.using(alias).bulk_create(rows, batch_size=AT_ONCE)
    except DatabaseError as error:
        raise QueueUnavailable(
            f'Database "{alias}" could not keep jobs for connection "{connection}": {error}'
        ) from error


def _row(connection: str, job: OutgoingJob) -> Outbox:
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
    )


def count(alias: str, connection: str, queue: str) -> int:
    """How many jobs are parked for a queue."""
    from djqueue.models import Outbox

    return Outbox.objects.using(alias).filter(_of(connection, queue)).count()


def clear(alias: str, connection: str, queue: str) -> int:
    """Delete the jobs that are parked for a queue; how many."""
    from djqueue.models import Outbox

    return Outbox.objects.using(alias).filter(_of(connection, queue)).delete()[0]


def _of(connection: str, queue: str) -> Q:
    return Q(connection=connection, queue=queue)
