"""Removing what is too old to be of use. Every worker does it, hourly, in a child."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from django.db.models import Q
from django.utils import timezone

from djqueue.compat import delete_rows
from djqueue.composition.batches import elsewhere
from djqueue.conf import settings
from djqueue.databases.now import UtcNow
from djqueue.dispatch.outbox import outbox
from djqueue.drivers import debounced, unique_keys
from djqueue.errors import QueueError
from djqueue.operations import batches, failed_jobs
from djqueue.operations.payload_pruning import still_needed
from djqueue.operations.reports import finished
from djqueue.results import rows
from djqueue.statistics.writing import HOUR, MINUTE

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.models import Control, JobResult, Key, Minute, Run, Slot

__all__ = ["prune"]

logger = logging.getLogger("djqueue.worker")

GUARD_DAYS = 15
"""Days that a guard row is kept: longer than any store may hand the same job out again."""
CONTROL_DAYS = 1
"""Days that an ended pause is kept."""
IDLE = 3600.0
"""Seconds that a free slot of a limit is kept."""
KEY_AGE = 60.0
"""Seconds for which the row of a unique key is kept at least."""
BUDGET = 10.0
"""Seconds that one go may take. What is left is for the next one."""
SLICE = 500
MINUTES_FOR, HOURS_FOR = 90_000, 31 * 86400
"""Seconds that statistics of single minutes (a day and an hour) and hours are kept."""


def prune(budget: float = BUDGET) -> bool:
    """Remove failed jobs and batches above the ages in the settings, old guard rows, ended pauses,
    free slots of limits, keys that no job has, old results, old statistics, finished jobs
    that are kept no longer, and outbox rows of connections that no longer exist. Finish removals
    of bound jobs that were interrupted.
    Return False if `budget` ran out before all was removed.
    """
    end = time.monotonic() + budget
    known = settings()
    if known.failed_jobs is not None and known.prune_failed_jobs is not None:
        before = timezone.now() - timedelta(seconds=known.prune_failed_jobs)
        failed_jobs.forget(failed_jobs.Selection(before=before), until=end)
    batches.close_forgotten()
    if known.prune_batches is not None:
        batches.prune(timezone.now() - timedelta(seconds=known.prune_batches))
    for alias in known.databases:
        _delete(_old_guards(alias), end)
        _delete(_old_controls(alias), end)
        _delete(_freed_keys(alias), end)
        while debounced.forget(alias, SLICE) == SLICE and time.monotonic() < end:
            pass
    _delete(_old_minutes(known.job_database), end)
    _delete(finished.old(), end)
    if known.limits.cache is None:
        _delete(_idle_slots(known.limit_database), end)
    _prune_results(end)
    if not outbox.in_use():
        outbox.replay()  # what follows from a job, written by a worker with other settings
    outbox.give_up_forgotten()
    try:
        elsewhere.end_removed()
    except QueueError as error:
        logger.info("Jobs whose removal was interrupted are left to the next time: %s", error)
    return time.monotonic() < end


def _prune_results(end: float) -> None:
    """Delete results that were kept for long enough, until the moment `end` (monotonic). A row
    without an end goes only if there is no such job any more.
    """
    alias = rows.store()
    if alias is None:
        return
    old = rows.table(alias).filter(keep_until__lt=UtcNow())
    ended = old.exclude(finished_at=None)
    while time.monotonic() < end and (
        keys := list(ended.order_by("keep_until").values_list("pk", flat=True)[:SLICE])
    ):
        delete_rows(ended.filter(pk__in=keys))
    lost = old.filter(finished_at=None)
    while time.monotonic() < end and (some := list(lost.order_by("keep_until")[:SLICE])):
        some.sort(key=lambda row: row.connection)
        for connection, each in groupby(some, key=lambda row: row.connection):
            _prune_lost(alias, connection, list(each))


def _prune_lost(alias: str, connection: str, some: list[JobResult]) -> None:
    every = [row.id for row in some]
    try:
        kept = still_needed(connection, every)
    except QueueError:
        kept = set(every)
    later = UtcNow() + timedelta(days=1)
    rows.table(alias).filter(pk__in=kept).update(keep_until=later)
    gone = [id for id in every if id not in kept]
    delete_rows(rows.table(alias).filter(pk__in=gone, finished_at=None))


def _old_guards(alias: str) -> QuerySet[Run]:
    """Return the rows of jobs that ended long ago, and of jobs whose last delay ended long ago.
    Their stores no longer have these jobs.
    """
    from djqueue.models import Run

    over = Q(ended=True) | Q(keep_until=None) | Q(keep_until__lt=UtcNow())
    old = UtcNow() - timedelta(days=GUARD_DAYS)
    return Run.objects.using(alias).filter(over, updated_at__lt=old)


def _old_controls(alias: str) -> QuerySet[Control]:
    from djqueue.models import Control

    return Control.objects.using(alias).filter(until__lt=UtcNow() - timedelta(days=CONTROL_DAYS))


def _old_minutes(alias: str) -> QuerySet[Minute]:
    """Return the statistics of single minutes and hours that are too old. Totals stay."""
    from djqueue.models import Minute

    now = time.time()
    minutes = Q(span=MINUTE, at__lt=now - MINUTES_FOR)
    hours = Q(span=HOUR, at__lt=now - HOURS_FOR)
    return Minute.objects.using(alias).filter(minutes | hours)


def _freed_keys(alias: str) -> QuerySet[Key]:
    """Return the rows of unique keys whose jobs have ended. Where the store cannot tell, a job that
    was not seen for as long as guard rows are kept counts as ended. Keys that were taken this
    moment stay: their jobs may not be seen by a statement that has begun before.
    """
    own = [each.name for each in settings().connections.values() if each.jobs_in_sql]
    long_ago = UtcNow() - timedelta(days=GUARD_DAYS)
    gone = unique_keys.ended_elsewhere() | Q(taken_at__lt=long_ago) & unique_keys.silent(long_ago)
    free = Q(connection__in=own) & unique_keys.without_job() | ~Q(connection__in=own) & gone
    rows = unique_keys.table(alias).filter(free)
    return rows.filter(taken_at__lt=UtcNow() - timedelta(seconds=KEY_AGE))


def _idle_slots(alias: str) -> QuerySet[Slot]:
    """Return the slots that were not used for long. Their rows appear again when they are used."""
    from djqueue.models import Slot

    long_ago = UtcNow() - timedelta(seconds=IDLE)
    return Slot.objects.using(alias).filter(free_at__lt=long_ago, taken_at__lt=long_ago)


def _delete(rows: QuerySet[Any], end: float) -> None:
    """Delete rows, a slice at a time, until `end`; at least one slice."""
    while True:
        keys = list(rows.values_list("pk", flat=True)[:SLICE])
        if keys:
            some = rows.filter(pk__in=keys)  # with the condition: they may have changed since
            delete_rows(some)
        if len(keys) < SLICE or time.monotonic() > end:
            return
