"""The outbox: jobs that SQL keeps on their way to another store, and that any worker moves there.

Two kinds of rows. Parked ones are due later than their store can delay a job. The others were
written in the transaction that dispatched them (``OUTBOX: True``): the dispatcher pushes them when
it has committed and removes the rows; if it dies between the two, a worker does it. A job may reach
its store twice then, under one id.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import connections, transaction
from django.db.models import QuerySet

from djqueue.bus.connections import queues
from djqueue.conf import settings
from djqueue.drivers import parking
from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.now import UtcNow
from djqueue.errors import QueueError

if TYPE_CHECKING:
    from djqueue.drivers.base import Driver
    from djqueue.models import Outbox

__all__ = ["alias_for", "forget", "in_use", "late", "replay", "write"]

logger = logging.getLogger("djqueue.worker")

GRACE = 5.0
"""Seconds after which a dispatcher that has committed and not pushed must be dead."""
AGAIN = 10.0
"""Seconds until the next try of what its store did not take."""
PARKING = ("sqs", "djqueue.drivers.sqs.SqsDriver")
"""Drivers that park jobs."""


def in_use() -> bool:
    """Whether any connection may have rows in the outbox."""
    known = settings().connections.values()
    return any(connection.outbox or connection.driver in PARKING for connection in known)


def alias_for(connection: str, aliases: Sequence[str]) -> str | None:
    """The alias in whose transaction jobs of `connection` are written down, if they are.

    Not where several transactions have to commit: a row in one would not know of the others.
    """
    known = settings()
    if len(aliases) != 1 or not known.connection(connection).outbox:
        return None
    return aliases[0] if aliases[0] in known.databases else None


def write(alias: str, connection: str, jobs: Sequence[OutgoingJob]) -> None:
    """Write `jobs` down in the open transaction on `alias`."""
    parking.park(alias, connection, [job._replace(delay=max(job.delay, GRACE)) for job in jobs])


def forget(alias: str, ids: Sequence[str]) -> None:
    """Remove the rows of jobs that have been pushed, or will not be."""
    for start in range(0, len(ids), parking.AT_ONCE):
        _rows(alias).filter(uuid__in=ids[start : start + parking.AT_ONCE]).delete()


def late(own: str) -> bool:
    """Whether jobs for other connections than `own` are due and none of their workers came."""
    missed = UtcNow() - timedelta(seconds=GRACE)
    return any(
        _rows(alias).filter(due_at__lte=missed).exclude(connection=own).exists()
        for alias in settings().databases
    )


def replay(limit: int = 100, *, driver: Driver | None = None) -> int:
    """Move up to `limit` due jobs of each database to their stores; how many.

    With `driver` only those of its connection, through it.
    """
    return sum(_replay(alias, limit, driver) for alias in settings().databases)


def _replay(alias: str, limit: int, driver: Driver | None) -> int:
    due = _due(alias)
    if driver is not None:
        due = due.filter(connection=driver.settings.name)
    if not due.exists():
        return 0
    moved = 0
    with _alone(alias):
        features = connections[alias].features
        if features.has_select_for_update_skip_locked:
            due = due.select_for_update(skip_locked=True)
        groups: dict[str, list[Outbox]] = defaultdict(list)
        for row in due.order_by("due_at", "id")[:limit]:
            groups[row.connection].append(row)
        for connection, rows in groups.items():
            mine = _rows(alias).filter(pk__in=[row.pk for row in rows])
            if _push(connection, rows, driver):
                moved += len(rows)
                mine.delete()
            else:
                mine.update(due_at=UtcNow() + timedelta(seconds=AGAIN))
    return moved


def _push(connection: str, rows: Sequence[Outbox], driver: Driver | None) -> bool:
    jobs = [
        OutgoingJob(
            str(row.uuid),
            row.queue,
            row.name,
            row.payload,
            0.0,
            row.priority,
            row.message_group,
            row.deduplication_id,
        )
        for row in rows
    ]
    try:
        (driver or queues[connection].driver).push(jobs)
    except QueueError as error:
        logger.warning(
            'The outbox holds %d due jobs for connection "%s", which did not take them: %s Trying '
            "again in %g s.",
            len(jobs),
            connection,
            error,
            AGAIN,
        )
        return False
    return True


@contextmanager
def _alone(alias: str) -> Iterator[None]:
    """A transaction in which no other worker moves the same rows."""
    connection = connections[alias]
    with transaction.atomic(using=alias):
        if connection.vendor == "sqlite":
            # Takes the lock for writing: two readers would move the same rows.
            _rows(alias).filter(pk=0).update(queue="")
        yield


def _due(alias: str) -> QuerySet[Outbox]:
    return _rows(alias).filter(due_at__lte=UtcNow())


def _rows(alias: str) -> QuerySet[Outbox]:
    from djqueue.models import Outbox

    return Outbox.objects.using(alias)
