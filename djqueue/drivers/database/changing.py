"""What operators do to rows of the jobs table: each change is one statement that compares with the
state that it is for, and with the reservation that the operator saw.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections, transaction
from django.db.models import F, Q

from djqueue.compat import delete_rows
from djqueue.databases.now import UtcNow
from djqueue.drivers.database.rows import IN_LINE, in_state, jobs, put_back
from djqueue.drivers.types import Change, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db.models import QuerySet

    from djqueue.drivers.types import Placement
    from djqueue.models import QueuedJob


def change(alias: str, change: Change, queue: str, seen: Mapping[str, str]) -> set[str]:
    """Do as `Inspector.change`, in one transaction: the rows are locked, so that their states
    hold.
    """
    rows = jobs(alias).filter(queue=queue, uuid__in=list(seen))
    with transaction.atomic(using=alias):
        _lock(rows)
        meant = {
            row.pk: row
            for row in _read(rows.filter(_allowed(change)))
            if seen[row.id] in ("", str(row.reservation))
        }
        if not meant:
            return set()
        write = jobs(alias).filter(_allowed(change), pk__in=list(meant))
        if _written(change, write) < len(meant):
            # A lease went on or ended between the two statements: the clock decides, not the lock.
            after = _read(jobs(alias).filter(pk__in=list(meant)))
            deletes = change in (Change.DELETE, Change.DELETE_RUNNING)
            for row in after:
                if deletes or row == meant[row.pk]:
                    del meant[row.pk]
    return {row.id for row in meant.values()}


def place(alias: str, queue: str, ids: Sequence[str], to: Placement) -> set[str]:
    """Do as `Inspector.place`, in one transaction."""
    new = dict[str, Any]()
    if to.queue is not None:
        new["queue"] = to.queue
    if to.priority is not None:
        new["priority"] = to.priority
    if to.delay is not None:
        new["available_at"] = UtcNow() + timedelta(seconds=max(to.delay, 0.0))
    here = jobs(alias).filter(queue=queue, uuid__in=list(ids), reserved_by__isnull=True)
    if to.priority is not None and to.delay is None and to.queue in (None, queue):
        here = here.exclude(priority=to.priority)  # changed by another one a moment ago
    with transaction.atomic(using=alias):
        _lock(here)
        keys = dict(here.values_list("pk", "uuid"))
        rows = jobs(alias).filter(pk__in=list(keys))
        rows.update(**new)
        if to.delay is not None and to.delay > 0:
            rows.update(line=None)
        elif to.delay is not None:
            rows.update(line=IN_LINE)
        elif to.priority is not None:
            rows.filter(line__isnull=False).update(line=IN_LINE)
    return set(map(str, keys.values()))


class _Row(NamedTuple):
    """What tells whether a row was written to."""

    pk: int
    id: str
    reservation: int
    line: int | None


def _read(rows: QuerySet[QueuedJob]) -> list[_Row]:
    columns = rows.values_list("pk", "uuid", "reservation", "line")
    return [_Row(pk, str(uuid), reservation, line) for pk, uuid, reservation, line in columns]


def _allowed(change: Change) -> Q:
    """Return the rows that a change is for."""
    if change is Change.DELETE:
        return Q(reserved_by__isnull=True) | in_state(State.STUCK)
    if change is Change.DELETE_RUNNING:
        return Q(reserved_by__isnull=False)
    return in_state(State.STUCK if change is Change.RELEASE else State.DELAYED)


def _written(change: Change, rows: QuerySet[QueuedJob]) -> int:
    if change is Change.RELEASE:
        return put_back(rows)
    if change is Change.RUN_NOW:
        return rows.update(line=IN_LINE, available_at=UtcNow())
    return delete_rows(rows)


def _lock(rows: QuerySet[QueuedJob]) -> None:
    """Let no other connection write to the rows before this transaction has ended."""
    if connections[rows.db].features.has_select_for_update:
        list(rows.order_by("pk").select_for_update().values_list("pk", flat=True))
    else:
        # SQLite: the first statement has to be a write, or a worker can come in between.
        rows.update(reservation=F("reservation"))
