"""The rows of the outbox, and the steps from one of their states to the next.

A row is *written*, then *taken* for a while by whoever pushes its job, then *gone*. Each step is
one conditional statement that commits by itself. `taken_by` names the holder of a row: at first
who wrote it, then who took it last; whoever finds another name there leaves the row alone.
"""

from __future__ import annotations

import uuid as uuids
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from django.db.models import Q, QuerySet

from djqueue.drivers import parking
from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.now import UtcNow

if TYPE_CHECKING:
    from djqueue.models import Outbox

__all__ = ["AGAIN", "GRACE", "HOLD", "Taken", "due", "gone", "holder", "put_back"]
__all__ += ["table", "take", "take_due", "withdraw", "write"]

GRACE = 5.0
"""Seconds from when a row was written until a worker may take it from its dispatcher."""
HOLD = 20.0
"""Seconds for which a row belongs to whoever has taken it: longer than one that lives may push."""
AGAIN = 10.0
"""Seconds until the next try of what its store did not take."""
AT_ONCE = 500
"""Rows in one step: SQLite takes 999 parameters."""


class Taken(NamedTuple):
    """A row that is held. A holder has one of a job at most."""

    job: OutgoingJob
    reservation: int


def holder() -> str:
    """A name that nobody else has."""
    return uuids.uuid4().hex


def write(
    alias: str, connection: str, by: str, jobs: Sequence[OutgoingJob], *, parked: bool
) -> None:
    """Write `jobs` down in the open transaction. `parked` ones are due when their delay is over,
    the others when `by`, who pushes them after the commit, must be dead.
    """
    rows = []
    for job in jobs:
        waits = job if parked else job._replace(delay=max(job.delay, GRACE))
        rows.append(parking.row(connection, waits, parked=parked, written_by=by))
    if rows:
        parking.insert(alias, rows)


def withdraw(alias: str, by: str, id: str) -> None:
    """Delete a job's row, if it is still held by who wrote it."""
    table(alias).filter(uuid=id, taken_by=by).delete()


def take(alias: str, by: str, ids: Sequence[str], hold: float = HOLD) -> set[str]:
    """Those of `ids` whose rows `by` has written or taken, and holds for so long from now on."""
    taken: set[str] = set()
    for some in _slices(ids):
        rows = table(alias).filter(uuid__in=some, taken_by=by)
        if rows.update(taken_until=_in(hold)) == len(some):
            taken.update(some)
        else:
            taken.update(str(id) for id in rows.values_list("uuid", flat=True))
    return taken


def take_due(alias: str, by: str, connection: str, limit: int) -> list[Taken]:
    """Up to `limit` rows of a connection that are due, which `by` holds from now on."""
    rows = due(alias, connection)
    keys = list(rows.order_by("due_at", "id").values_list("pk", flat=True)[:limit])
    if not keys or not rows.filter(pk__in=keys).update(taken_until=_in(HOLD), taken_by=by):
        return []
    held = list(table(alias).filter(pk__in=keys, taken_by=by).order_by("due_at", "id"))
    mine = {row.uuid: row for row in reversed(held)}
    if len(mine) < len(held):  # two pushes of one job: one after the other
        twice = [row.pk for row in held if mine[row.uuid] is not row]
        table(alias).filter(pk__in=twice, taken_by=by).update(taken_until=None, taken_by="")
    return [_taken(row) for row in reversed(mine.values())]


def gone(alias: str, by: str, ids: Iterable[str]) -> None:
    """Delete rows that `by` holds: their jobs are in the store."""
    for some in _slices(list(ids)):
        rows = table(alias).filter(uuid__in=some, taken_by=by)
        rows._raw_delete(rows.db)


def put_back(alias: str, by: str, ids: Iterable[str]) -> None:
    """Let go of rows that `by` holds: anybody may try again a little later."""
    for some in _slices(list(ids)):
        rows = table(alias).filter(uuid__in=some, taken_by=by)
        rows.filter(due_at__lt=_in(AGAIN)).update(due_at=_in(AGAIN))
        rows.update(taken_until=None, taken_by="")


def _free() -> Q:
    return Q(taken_until=None) | Q(taken_until__lte=UtcNow())


def due(alias: str, connection: str) -> QuerySet[Outbox]:
    """The rows of a connection that anybody may take now."""
    return table(alias).filter(_free(), connection=connection, due_at__lte=UtcNow())


def table(alias: str) -> QuerySet[Outbox]:
    """All rows in a database."""
    from djqueue.models import Outbox

    return Outbox.objects.using(alias)


def _taken(row: Outbox) -> Taken:
    job = OutgoingJob(
        str(row.uuid),
        row.queue,
        row.name,
        row.payload,
        0.0,
        row.priority,
        row.message_group,
        row.deduplication_id,
        row.push_id,
    )
    return Taken(job, row.reservation)


def _in(seconds: float) -> object:
    return UtcNow() + timedelta(seconds=seconds)


def _slices(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]
