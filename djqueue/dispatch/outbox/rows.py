"""The rows of the outbox, and the statements that move them from one state to the next.

A row is *written*, then *taken* for a while by the process that pushes its job, then *gone*. Each
step is one conditional statement that commits by itself. `taken_by` names the row's holder: first
its writer, later the process that took it last. A process that finds another name leaves the row
alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from django.db import connections, transaction
from django.db.models import QuerySet

from djqueue.databases import holding, locking
from djqueue.databases.holding import later
from djqueue.databases.now import UtcNow
from djqueue.dispatch.unique.keys import key_in
from djqueue.drivers import parking
from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.slices import slices
from djqueue.drivers.types import OutboxRow

if TYPE_CHECKING:
    from djqueue.models import Outbox

__all__ = ["AGAIN", "GRACE", "HOLD", "Taken", "due", "gone", "put_back"]
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


def write(
    alias: str,
    connection: str,
    by: str,
    jobs: Sequence[OutgoingJob],
    *,
    parked: bool,
    hold: float | None = None,
) -> None:
    """Write rows for `jobs` in the open transaction, which are `by`'s, and which it takes at once
    where it wants to `hold` them for some seconds.

    `parked` jobs are due after their delay. The others are due at the earliest after `GRACE`: if
    `by` lives, it has pushed them by then.
    """
    rows = []
    for job in jobs:
        waits = job if parked else job._replace(delay=max(job.delay, GRACE))
        rows.append(OutboxRow(connection, waits, parked, taken_by=by, hold=hold))
    if rows:
        parking.insert(alias, rows)


def withdraw(alias: str, by: str, id: str) -> None:
    """Delete a job's row if its writer still holds it."""
    holding.held(table(alias).filter(uuid=id), by).delete()


def take(alias: str, by: str, ids: Sequence[str], hold: float = HOLD) -> set[str]:
    """Hold the rows of `ids` that are `by`'s for `hold` seconds from now. Return their ids."""
    taken: set[str] = set()
    for some in slices(ids, AT_ONCE):
        rows = holding.held(table(alias).filter(uuid__in=some), by)
        if rows.update(taken_until=later(hold)) == len(some):
            taken.update(some)
        else:
            taken.update(str(id) for id in rows.values_list("uuid", flat=True))
    return taken


def take_due(alias: str, by: str, connection: str, limit: int) -> list[Taken]:
    """Take up to `limit` due rows of a connection for `by`, and return them. Rows that are locked
    are left alone: a debounced job, by the transaction of a dispatch that replaces it.
    """
    from djqueue.drivers.database import outbox

    held = outbox.take_due(alias, by, connection, limit, HOLD)
    if held is None:
        held = _take_due(alias, by, connection, limit)
    mine = {row.uuid: row for row in reversed(held)}
    if len(mine) < len(held):  # two pushes of one job: the second one has to wait
        twice = [row.pk for row in held if mine[row.uuid] is not row]
        holding.release(table(alias).filter(pk__in=twice), by)
    return [_taken(row) for row in reversed(mine.values())]


def _take_due(alias: str, by: str, connection: str, limit: int) -> list[Outbox]:
    """Do so on MySQL and MariaDB."""
    ready = due(alias, connection).order_by("due_at", "id")
    keys = list(ready.values_list("pk", flat=True)[:limit])
    if not keys or not _hold(alias, _due(alias, connection).filter(pk__in=keys), by):
        return []
    return list(holding.held(table(alias).filter(pk__in=keys), by).order_by("due_at", "id"))


def _hold(alias: str, rows: QuerySet[Outbox], by: str) -> int:
    """Hold those of `rows` that are free for `by`. Return their number."""
    if not locking.passes_over(alias):
        return holding.take(rows, by, HOLD, debounced=False)
    with transaction.atomic(using=alias):
        mine = rows.filter(pk__in=locking.unlocked(holding.free(rows)))
        return holding.take(mine, by, HOLD, debounced=False)


def gone(alias: str, by: str, ids: Iterable[str]) -> None:
    """Delete rows that `by` holds, as their jobs are in the store."""
    from djqueue.drivers.database.outbox import delete_held

    for some in slices(ids, AT_ONCE):
        delete_held(alias, by, some)


def give_up(alias: str, by: str, ids: Iterable[str]) -> set[str]:
    """Delete rows that `by` holds, as a part of an open transaction. Return the ids of their jobs,
    without those of rows that others hold by now.
    """
    deleted: set[str] = set()
    for some in slices(ids, AT_ONCE):
        rows = holding.held(table(alias).filter(uuid__in=some), by)
        mine = list(rows.select_for_update().values_list("uuid", flat=True))
        holding.delete(table(alias).filter(uuid__in=mine), by)
        deleted.update(map(str, mine))
    return deleted


def lock(alias: str, by: str, ids: Iterable[str]) -> set[str]:
    """Lock rows that `by` holds until the end of the transaction. Return the ids of their jobs."""
    mine: set[str] = set()
    for some in slices(ids, AT_ONCE):
        rows = holding.held(table(alias).filter(uuid__in=some), by)
        if not connections[alias].features.has_select_for_update:
            rows.update(taken_by=by)  # SQLite locks by a write only
        mine.update(map(str, rows.select_for_update().values_list("uuid", flat=True)))
    return mine


def rewrite(alias: str, by: str, payloads: Mapping[str, str]) -> None:
    """Write other payloads, by the ids of the jobs, into rows that `by` holds."""
    for id, payload in payloads.items():
        holding.held(table(alias).filter(uuid=id), by).update(payload=payload)


def put_back(alias: str, by: str, ids: Iterable[str]) -> None:
    """Free rows that `by` holds; they are due again after `AGAIN` seconds."""
    for some in slices(ids, AT_ONCE):
        rows = table(alias).filter(uuid__in=some)
        holding.held(rows, by).filter(due_at__lt=later(AGAIN)).update(due_at=later(AGAIN))
        holding.release(rows, by)


def due(alias: str, connection: str) -> QuerySet[Outbox]:
    """Return the rows of a connection that are free and due."""
    return holding.free(_due(alias, connection))


def _due(alias: str, connection: str) -> QuerySet[Outbox]:
    return table(alias).filter(connection=connection, due_at__lte=UtcNow())


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
        key_in(row.payload),
        row.batch_id or "",
    )
    return Taken(job, row.reservation)
