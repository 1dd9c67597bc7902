"""The rows of the jobs table as operators see them. Plain ORM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Greatest, Least

from djqueue.databases.now import UtcNow, aware
from djqueue.drivers.base import State, StoredJob

if TYPE_CHECKING:
    from djqueue.models import QueuedJob


# No number in a row may make the statement fail that is about many rows.
IN_LINE = -Greatest(F("priority"), -32767)


def jobs(alias: str) -> QuerySet[QueuedJob]:
    """Return all rows on that database."""
    from djqueue.models import QueuedJob

    return QueuedJob.objects.using(alias)


def in_state(state: State) -> Q:
    """Return the rows of a state. A delayed row that is due but not yet in line counts as waiting:
    a worker promotes it before it reserves. Stuck means reserved, with an expired lease, and not
    taken over yet.
    """
    if state is State.WAITING:
        return Q(line__isnull=False) | Q(
            line__isnull=True, reserved_by__isnull=True, available_at__lte=UtcNow()
        )
    if state is State.DELAYED:
        return Q(line__isnull=True, reserved_by__isnull=True, available_at__gt=UtcNow())
    stuck = Q(reserved_by__isnull=False) & _lease_over()
    if state is State.STUCK:
        return stuck
    return Q(reserved_by__isnull=False) & ~_lease_over()


def _lease_over() -> Q:
    from djqueue.models import Worker

    row = Worker.objects.filter(pk=OuterRef("reserved_by"))
    dead = Exists(row.filter(alive_until__lt=UtcNow()))
    return Q(dead) | (Q(reserved_until__lt=UtcNow()) & ~Q(Exists(row)))


ORDER = {
    State.WAITING: ("line", "available_at", "id"),
    State.DELAYED: ("available_at", "id"),
    State.RESERVED: ("id",),
    State.STUCK: ("id",),
}


def behind(
    here: QuerySet[QueuedJob], alias: str, after: str, order: Sequence[str]
) -> QuerySet[QueuedJob]:
    """Return only rows behind the one whose uuid is `after`; all of them if it is gone. Compared
    within the database: a time that went through Python may come back as another text.
    """
    last = jobs(alias).filter(uuid=after)
    row = last.values(*order).first()
    if row is None:
        return here
    behind, equal = Q(), Q()
    for column in order:
        if row[column] is None:
            continue
        value = Subquery(last.values(column)[:1])
        behind |= equal & Q(**{f"{column}__gt": value})
        equal &= Q(**{column: value})
    return here.filter(behind)


def describe(alias: str, rows: QuerySet[QueuedJob]) -> list[StoredJob]:
    """Return stored jobs, with the state and the worker's name of each."""
    from djqueue.models import Worker

    found = list(rows.annotate(now=UtcNow()))
    holders = {row.reserved_by for row in found if row.reserved_by is not None}
    workers = {row.pk: row for row in Worker.objects.using(alias).filter(pk__in=holders)}
    return [_stored(row, workers.get(row.reserved_by or 0)) for row in found]


def _stored(row: Any, worker: Any) -> StoredJob:
    if row.reserved_by is not None:
        over = worker.alive_until < row.now if worker else row.reserved_until < row.now
        state = State.STUCK if over else State.RESERVED
    else:
        waits = row.line is not None or row.available_at <= row.now
        state = State.WAITING if waits else State.DELAYED
    return StoredJob(
        id=str(row.uuid),
        queue=row.queue,
        name=row.name,
        payload=row.payload,
        state=state,
        attempts=row.attempts,
        interruptions=row.interruptions,
        priority=row.priority,
        created_at=aware(row.created_at),
        available_at=aware(row.available_at),
        reserved_at=aware(row.reserved_at),
        reserved_until=aware(row.reserved_until),
        worker=worker.name if worker else None,
        reservation=str(row.reservation),
        history=row.history,
        read_at=aware(row.now),
    )


def put_back(stuck: QuerySet[QueuedJob]) -> int:
    """Put rows whose worker is gone back in line, with a new fencing number and one more
    interruption.
    """
    return stuck.update(
        reserved_at=None,
        reserved_until=None,
        reserved_by=None,
        line=IN_LINE,
        reservation=F("reservation") + 1,
        attempts=Greatest(F("attempts"), 1) - 1,
        interruptions=Least(F("interruptions"), 2147483646) + 1,
    )
