"""The rows of the outbox, and the statements that move them from one state to the next.

A row is *written*, then *taken* for a while by the process that pushes its job, then *gone*. Each
step is one conditional statement that commits by itself. `taken_by` names the row's holder: first
its writer, later the process that took it last. A process that finds another name leaves the row
alone.
"""

from __future__ import annotations

import uuid as uuids
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from django.db.models import Q, QuerySet

from djqueue.compat import delete_rows
from djqueue.databases.now import UtcNow
from djqueue.drivers import parking
from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.slices import slices

if TYPE_CHECKING:
    from djqueue.models import Outbox

__all__ = ["AGAIN", "GRACE", "HOLD", "Taken", "due", "gone", "holder", "put_back"]
__all__ += ["table", "take", "take_due", "withdraw", "write"]

GRACE = 5.0
"""Seconds after which a worker may take a written row from its dispatcher."""
HOLD = 20.0
"""Seconds for which a taken row belongs to its holder; longer than any push can last."""
AGAIN = 10.0
"""Seconds until jobs that their store did not take are pushed again."""
AT_ONCE = 500
"""Rows in one statement: SQLite takes 999 parameters."""


class Taken(NamedTuple):
    """A job whose row is held. A holder has at most one row of a job."""

    job: OutgoingJob
    reservation: int


def holder() -> str:
    """Return a new, unique name for a holder of rows."""
    return uuids.uuid4().hex


def write(
    alias: str, connection: str, by: str, jobs: Sequence[OutgoingJob], *, parked: bool
) -> None:
    """Write rows for `jobs` in the open transaction, held by `by`.

    `parked` jobs are due after their delay. The others are due at the earliest after `GRACE`: if
    `by` lives, it has pushed them by then.
    """
    rows = []
    for job in jobs:
        waits = job if parked else job._replace(delay=max(job.delay, GRACE))
        rows.append(parking.row(connection, waits, parked=parked, written_by=by))
    if rows:
        parking.insert(alias, rows)


def withdraw(alias: str, by: str, id: str) -> None:
    """Delete a job's row if its writer still holds it."""
    table(alias).filter(uuid=id, taken_by=by).delete()


def take(alias: str, by: str, ids: Sequence[str], hold: float = HOLD) -> set[str]:
    """Hold the rows of `ids` that are `by`'s for `hold` seconds from now. Return their ids."""
    taken: set[str] = set()
    for some in slices(ids, AT_ONCE):
        rows = table(alias).filter(uuid__in=some, taken_by=by)
        if rows.update(taken_until=_in(hold)) == len(some):
            taken.update(some)
        else:
            taken.update(str(id) for id in rows.values_list("uuid", flat=True))
    return taken


def take_due(alias: str, by: str, connection: str, limit: int) -> list[Taken]:
    """Take up to `limit` due rows of a connection for `by`, and return them."""
    rows = due(alias, connection)
    keys = list(rows.order_by("due_at", "id").values_list("pk", flat=True)[:limit])
    if not keys or not rows.filter(pk__in=keys).update(taken_until=_in(HOLD), taken_by=by):
        return []
    held = list(table(alias).filter(pk__in=keys, taken_by=by).order_by("due_at", "id"))
    mine = {row.uuid: row for row in reversed(held)}
    if len(mine) < len(held):  # two pushes of one job: the second one has to wait
        twice = [row.pk for row in held if mine[row.uuid] is not row]
        table(alias).filter(pk__in=twice, taken_by=by).update(taken_until=None, taken_by="")
    return [_taken(row) for row in reversed(mine.values())]


def gone(alias: str, by: str, ids: Iterable[str]) -> None:
    """Delete rows that `by` holds, as their jobs are in the store."""
    for some in slices(ids, AT_ONCE):
        delete_rows(table(alias).filter(uuid__in=some, taken_by=by))


def put_back(alias: str, by: str, ids: Iterable[str]) -> None:
    """Free rows that `by` holds; they are due again after `AGAIN` seconds."""
    for some in slices(ids, AT_ONCE):
        rows = table(alias).filter(uuid__in=some, taken_by=by)
        rows.filter(due_at__lt=_in(AGAIN)).update(due_at=_in(AGAIN))
        rows.update(taken_until=None, taken_by="")


def _free() -> Q:
    return Q(taken_until=None) | Q(taken_until__lte=UtcNow())


def due(alias: str, connection: str) -> QuerySet[Outbox]:
    """Return the rows of a connection that are free and due."""
    return table(alias).filter(_free(), connection=connection, due_at__lte=UtcNow())


def table(alias: str) -> QuerySet[Outbox]:
    """Return all rows in a database."""
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
