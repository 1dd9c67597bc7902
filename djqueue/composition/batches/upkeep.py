"""What is left to do after the row of a batch has changed. Members of a cancelled batch that wait
are removed, and those of one whose turn it is go to their stores: a slice at a time, each in one
transaction, which also counts what it removed. The end of a batch is announced.

`upkeep_at` in the row says when there is something to do. The process that cancels a batch begins
with it at once; what is left is done by a child of any worker. A batch is looked after by one of
them at a time. If it is killed, another one goes on after `HOLD` seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from django.db import DatabaseError, transaction
from django.db.models import F

from djqueue.composition import removing
from djqueue.composition.batches import counting, elsewhere
from djqueue.composition.batches.announcing import announce_one
from djqueue.composition.batches.counting import Ends
from djqueue.composition.batches.publishing import Publishing
from djqueue.composition.chains import steps
from djqueue.composition.ended import Turn
from djqueue.composition.following import count, release
from djqueue.composition.pushing import push
from djqueue.conf import settings
from djqueue.databases.now import UtcNow
from djqueue.dispatch.connections import driver_of
from djqueue.drivers import parking
from djqueue.errors import QueueError
from djqueue.signals import batch_finished

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.db.models.expressions import CombinedExpression

    from djqueue.drivers.database.members import Removed
    from djqueue.models import JobBatch

__all__ = ["begin", "cancel", "is_due", "look_after", "newest_row"]

logger = logging.getLogger("djqueue")

SLICE = 500
"""Members that one transaction removes."""
BUDGET = 1.0
"""Seconds that one call may take. What is left is for the next one."""
HOLD = 30.0
"""Seconds for which a batch belongs to the process that looks after it."""
AGAIN, MOST = 10.0, 3600.0
"""Seconds after which a cancelled batch that is not finished is looked at again, at least and at
most: a member that ran may wait for its next try since then."""


def is_due() -> bool:
    """Return whether there is a batch to look after."""
    return _due(steps.store()).exists()


def look_after() -> None:
    """Do what is due, for at most `BUDGET` seconds."""
    alias, end = steps.store(), time.monotonic() + BUDGET
    if not batch_finished.receivers:
        _due(alias).filter(finished_at__isnull=False, pending_jobs=0).update(upkeep_at=None)
    while (batch := _take(alias)) is not None:
        _look_after(alias, batch, end)
        if time.monotonic() > end:
            return


def cancel(batch: str) -> bool:
    """Cancel a batch that is neither cancelled nor finished, and begin to remove its members; after
    the commit of the transaction that is open. Return whether it was so.
    """
    alias = steps.store()
    with transaction.atomic(using=alias):
        cancelled = counting.cancel(alias, batch, "cancelled")
    if cancelled:
        Publishing(alias).add([partial(begin, batch)])
    return cancelled


def begin(batch: str) -> None:
    """Begin to remove the members of a batch that was cancelled. A worker does what is left."""
    alias = steps.store()
    try:
        if _hold(alias, batch):
            _look_after(alias, batch, time.monotonic() + BUDGET)
    except (QueueError, DatabaseError) as error:
        logger.info("Members of batch %s are left to a worker: %s", batch, error)


def _look_after(alias: str, batch: str, end: float) -> None:
    is_done = _release(alias, batch, end) and _remove(alias, batch, end)
    empty = counting.rows(alias).filter(pk=batch, pending_jobs=0, finished_at=None)
    if empty.exists():  # it was cancelled before it had members
        with transaction.atomic(using=alias):
            push(alias, count(alias, Ends(batch, 0)), driver_of)
    announce_one(alias, batch)
    _let_go(alias, batch, is_done=is_done)


def _due(alias: str) -> QuerySet[JobBatch]:
    return counting.rows(alias).filter(upkeep_at__lte=UtcNow())


def _take(alias: str) -> str | None:
    """Hold a batch that is due. Return its id; None if there is none."""
    for id in _due(alias).order_by("upkeep_at").values_list("pk", flat=True)[:10]:
        if _hold(alias, id):
            return id
    return None


def _hold(alias: str, batch: str) -> bool:
    """Hold a batch if it is due. Return whether it was."""
    until = UtcNow() + timedelta(seconds=HOLD)
    return _due(alias).filter(pk=batch).update(upkeep_at=until) > 0


def _let_go(alias: str, batch: str, *, is_done: bool) -> None:
    """Say when the batch is due again: each time later, as long as members of it run. One that
    has become due since it was held stays so, because it has finished, too: it is looked at once
    more.
    """
    row = counting.rows(alias).filter(pk=batch).annotate(now=UtcNow()).first()
    if row is None:
        return
    at: UtcNow | CombinedExpression | None = None
    if not is_done:
        at = UtcNow()
    elif row.pending_jobs and row.cancelled_at is not None:
        age = (row.now - row.cancelled_at).total_seconds()
        at = UtcNow() + timedelta(seconds=min(max(age, AGAIN), MOST))
    counting.rows(alias).filter(pk=batch).exclude(upkeep_at__lte=UtcNow()).update(upkeep_at=at)


def _remove(alias: str, batch: str, end: float) -> bool:
    """Remove the members of a cancelled batch that wait, until the moment `end` (monotonic). Return
    whether none is left.
    """
    cancelled = counting.rows(alias).filter(
        pk=batch, cancelled_at__isnull=False, pending_jobs__gt=0
    )
    if not cancelled.exists():
        return True
    _cancel_inner(alias, batch)
    in_store, in_outbox = _from_store(alias, batch), _from_outbox(alias, batch)
    for _ in chain(in_store, in_outbox, elsewhere.remove(alias, batch)):
        if time.monotonic() > end:
            return False
    return True


def _cancel_inner(alias: str, batch: str) -> None:
    """Cancel the batches inside a cancelled one whose turn it is; those that wait for it end with
    their chains.
    """
    inner = counting.rows(alias).filter(outer=batch, turn=Turn.RUNS, cancelled_at=None)
    for id in list(inner.values_list("pk", flat=True)):
        with transaction.atomic(using=alias):
            counting.cancel(alias, id, "its batch was cancelled")


def _release(alias: str, batch: str, end: float) -> bool:
    """Let the members of a batch go that wait although it is its turn, until the moment `end`
    (monotonic). Return whether none waits.
    """
    if not counting.rows(alias).filter(pk=batch, turn=Turn.RUNS, cancelled_at=None).exists():
        return True
    more = True
    while more:
        with transaction.atomic(using=alias):
            counting.lock_all(alias, batch)
            pushed, more = release(alias, batch, SLICE)
            push(alias, pushed, driver_of)
        if more and time.monotonic() > end:
            return False
    return True


def _from_store(alias: str, batch: str) -> Iterator[int]:
    """Remove a slice of the jobs table. Yields the number of each slice."""
    from djqueue.drivers.database import members  # loaded where jobs are in a database

    if not _has_jobs(alias):
        return
    rows = counting.rows(alias).filter(pk=batch)
    last = rows.values_list("swept_to", flat=True).first() or 0
    while True:
        with transaction.atomic(using=alias):
            counting.lock_all(alias, batch)
            removed = members.remove_waiting(alias, batch, last, SLICE)
            removing.write_removal(alias, removed.payloads, driver_of, batch)
            if not members.is_indexed(alias):
                _note_sweep(rows, removed)
        if removed.is_end:
            return
        last = removed.last
        yield len(removed.payloads)


def _note_sweep(rows: QuerySet[JobBatch], removed: Removed) -> None:
    """Say how far a sweep of the jobs table has come. At its end say where the next one begins: a
    worker may put back what it held.
    """
    if removed.left is not None:
        rows.filter(left_from=None).update(left_from=removed.left)
    rows.update(swept_to=removed.last)
    if removed.is_end:
        left = rows.filter(left_from__isnull=False)
        left.update(swept_to=F("left_from") - 1)
        left.update(left_from=None)


def newest_row(alias: str) -> int:
    """Return the row of the jobs table behind which the members of a new batch will be."""
    from djqueue.drivers.database import members  # loaded where jobs are in a database

    return 0 if members.is_indexed(alias) or not _has_jobs(alias) else members.newest(alias)


def _has_jobs(alias: str) -> bool:
    own = (each for each in settings().connections.values() if each.jobs_in_sql)
    return any(each.database == alias for each in own)


def _from_outbox(alias: str, batch: str) -> Iterator[int]:
    """Do the same with members on their way to other stores, or that wait for its turn."""
    while True:
        with transaction.atomic(using=alias):
            counting.lock_all(alias, batch)
            gone = parking.remove_members(alias, batch, SLICE)
            if inner := [str(row.uuid) for row in gone if steps.is_batch(row)]:
                steps.give_up_batches(alias, inner)
            removing.write_removals(alias, gone, driver_of, batch)
        if not gone:
            return
        yield len(gone)
