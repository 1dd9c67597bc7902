"""Jobs that wait in SQL for a store that cannot keep them yet: parked rows of `djqueue_outbox`.

Any worker moves those that are due to their store: see `djqueue.dispatch.outbox.outbox`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import DatabaseError
from django.db.models import Q, QuerySet
from django.utils import timezone

from djqueue.compat import delete_rows
from djqueue.conf import settings
from djqueue.databases import holding
from djqueue.databases.now import UtcNow, aware
from djqueue.drivers.base import OutgoingJob, State, StoredJob
from djqueue.drivers.types import OutboxRow
from djqueue.errors import QueueUnavailable
from djqueue.text import short_ids

if TYPE_CHECKING:
    from djqueue.models import Outbox

__all__ = ["clear", "count", "described", "find", "insert", "make_due", "park", "parked", "remove"]
__all__ += ["remove_members", "search", "uuids"]

MOMENT = timedelta(seconds=1)


def park(alias: str, connection: str, jobs: Sequence[OutgoingJob], reservation: int = 0) -> None:
    """Keep `jobs` until their delay ends, by the database's clock, as a part of an open transaction
    on the alias. The same push of a job, released by the same `reservation`, is kept once.
    """
    insert(alias, [OutboxRow(connection, job, True, reservation) for job in jobs])


def insert(alias: str, rows: Sequence[OutboxRow]) -> None:
    """Write rows. A row that exists already stays unchanged."""
    from djqueue.drivers.database import outbox

    try:
        outbox.write(alias, rows)
    except DatabaseError as error:
        raise QueueUnavailable(
            f'Database "{alias}" could not keep jobs for connection "{rows[0].connection}": {error}'
        ) from error


def count(alias: str, connection: str, queue: str) -> int:
    """Return the number of jobs that wait for a queue: in this database, and in those that have
    jobs.
    """
    return sum(rows.count() for rows in _waiting(alias, connection, queue))


def clear(alias: str, connection: str, queue: str) -> int:
    """Delete the jobs that wait for a queue. Return their number."""
    return sum(map(delete_rows, _waiting(alias, connection, queue)))


def find(
    ids: Sequence[str], connection: str | None = None, aliases: Sequence[str] = ()
) -> Iterator[tuple[str, StoredJob]]:
    """Return jobs that wait here and that are not being moved to their store, and their
    connections. They are looked for in `aliases`; in all databases with jobs if none is given.
    """
    now = timezone.now()
    for rows in _free(ids, connection, aliases):
        for row in rows:
            yield row.connection, _stored(row, now)


def parked(alias: str, connection: str, queue: str | None = None) -> QuerySet[Outbox]:
    """Return the parked rows of a connection, or of one of its queues, that are not being moved to
    their store.
    """
    from djqueue.models import Outbox

    rows = Outbox.objects.using(alias).filter(connection=connection, parked=True, chain=None)
    return holding.free(rows if queue is None else rows.filter(queue=queue))


def described(rows: Iterable[Outbox]) -> list[StoredJob]:
    """Return the jobs in these rows as operators see them."""
    now = timezone.now()
    return [_stored(row, now) for row in rows]


def search(rows: QuerySet[Outbox], part: str) -> QuerySet[Outbox]:
    """Return those of `rows` whose id begins or ends with `part`, as `Inspector.search` is given
    it.
    """
    begin, end = short_ids.as_begin(part), short_ids.as_end(part)
    return rows.filter(Q(uuid__startswith=begin) | Q(uuid__endswith=end)).order_by("pk")


def make_due(rows: QuerySet[Outbox]) -> int:
    """Let jobs run now that would run later. Return their number. Another operator who asks for it
    at the same moment may have an earlier "now", and has to find them due: so they are a `MOMENT`
    before this one.
    """
    return rows.filter(due_at__gt=UtcNow()).update(due_at=UtcNow() - MOMENT)


def _stored(row: Outbox, now: datetime) -> StoredJob:
    due = aware(row.due_at)
    waits = row.parked and due is not None and due > now
    return StoredJob(
        str(row.uuid),
        row.queue,
        row.name,
        row.payload,
        State.DELAYED if waits else State.WAITING,
        0,
        0,
        row.priority,
        aware(row.created_at),
        due,
        None,
        None,
        None,
    )


def remove(ids: Sequence[str], connection: str) -> int:
    """Delete jobs that `find` finds. Return their number."""
    return sum(map(delete_rows, _free(ids, connection)))


def remove_members(alias: str, batch: str, limit: int) -> list[Outbox]:
    """Delete up to `limit` members of a batch that are not being moved to their stores, as a part
    of the open transaction of `alias`. Return their rows. Rows that others lock are left out.
    """
    from djqueue.models import Outbox

    free = holding.free(Outbox.objects.using(alias).filter(batch_id=batch))
    locked = free.order_by("pk").select_for_update(skip_locked=True)
    found = list(locked[:limit])
    if found:
        delete_rows(Outbox.objects.using(alias).filter(pk__in=[row.pk for row in found]))
    return found


def _free(
    ids: Sequence[str], connection: str | None, aliases: Sequence[str] = ()
) -> Iterator[QuerySet[Outbox]]:
    from djqueue.models import Outbox

    found = uuids(ids)
    for each in (aliases or settings().databases) if found else ():
        rows = holding.free(Outbox.objects.using(each).filter(uuid__in=found))
        yield rows if connection is None else rows.filter(connection=connection)


def uuids(ids: Sequence[str]) -> list[UUID]:
    """Return those of `ids` that a job may have here."""
    found = []
    for id in ids:
        with suppress(ValueError):
            found.append(UUID(id))
    return found


def _waiting(alias: str, connection: str, queue: str) -> Iterator[QuerySet[Outbox]]:
    from djqueue.models import Outbox

    for each in dict.fromkeys((alias, *settings().databases)):
        here = Outbox.objects.using(each).filter(connection=connection, queue=queue)
        yield here.filter(chain__isnull=True)  # the steps of chains are not in the queue yet
