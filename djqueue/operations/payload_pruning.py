"""Removing large arguments that are no longer needed.

Most are removed when their job has ended. What is left is of dispatches that were rolled back or
broke off, of jobs that operators deleted, and of workers that died at the wrong moment.
"""

from __future__ import annotations

import random
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models import Q
from django.utils import timezone

from djqueue.conf import settings
from djqueue.dispatch.connections import queues
from djqueue.dispatch.large import seconds_until_check
from djqueue.errors import QueueError
from djqueue.payload import store as payload_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from django.db.models import QuerySet

    from djqueue.models import Payload

__all__ = ["prune_payloads", "still_needed"]

SLICE = 200
SHARDS = 16
"""Of the 256 folders of a storage, in one go; chosen at random."""


def prune_payloads(budget: float = 2.0) -> int:
    """Remove entries of the payload store that have neither a job nor a failed row. Return their
    number. The call takes about `budget` seconds at most; the next call goes on with the rest.

    An entry that is still needed is not looked at again for a while (`seconds_until_check`). One
    whose connection cannot be asked for a job, or is not configured here, goes by its age. While a
    connection that can be asked is away, what the others do not have is left for later.
    """
    known = settings()
    if known.payloads is None or known.prune_payloads is None:
        return 0
    end = time.monotonic() + budget
    age = timedelta(seconds=known.prune_payloads)
    removed = 0
    for orphans in _orphans(age):
        payload_store.remove(orphans)
        removed += len(orphans)
        if time.monotonic() > end:
            return removed
    for shard in random.sample(range(256), SHARDS):
        files = payload_store.orphan_files(shard, age)
        payload_store.remove(files)
        removed += len(files)
        if time.monotonic() > end:
            break
    return removed


def _orphans(age: timedelta) -> Iterator[list[str]]:
    """Return slices of the entries that are due for a check and not needed. Needed ones are
    postponed for a day.
    """
    while True:
        rows = list(_due(age).order_by("check_at")[:SLICE])
        if not rows:
            return
        connection = rows[0].connection
        uuids = [row.uuid for row in rows if row.connection == connection]
        try:
            needed = still_needed(connection, uuids)
        except QueueError:
            return  # the jobs may be there: each connection has to say that they are not
        payload_store.postpone_check(needed, seconds_until_check(connection))
        yield [str(uuid) for uuid in uuids if uuid not in needed]


def _table() -> QuerySet[Payload]:
    from djqueue.models import Payload

    return Payload.objects.using(settings().payload_database)


def _due(age: timedelta) -> QuerySet[Payload]:
    now = timezone.now()
    known = Q(connection__in=settings().connections, check_at__lt=now)
    # Of a project with other settings, perhaps, which looks after its own in time.
    foreign = ~Q(connection__in=settings().connections) & Q(check_at__lt=now - age)
    return _table().filter(known | foreign).defer("body")


def still_needed(connection: str, uuids: list[UUID]) -> set[UUID]:
    """Return the ids that have a job, or a row that stands for one. Failed rows are read before and
    after the others: a job that is retried meanwhile moves from one place to the other.

    The job is looked for on `connection` first, and what is not there on every other one: a move
    that broke off, or the restore of a backup, may have left a row that names the wrong one. Raises
    `QueueError` if one of those that have to be asked cannot be.
    """
    needed = _failed(uuids)
    needed |= _parked(uuids)
    needed |= _guarded(uuids)
    for name in (connection, *(settings().connections.keys() - {connection})):
        if left := [uuid for uuid in uuids if uuid not in needed]:
            needed |= _queued(name, left)
    return needed | _failed(uuids)


def _failed(uuids: list[UUID]) -> set[UUID]:
    from djqueue.models import FailedJob

    alias = settings().failed_jobs
    if alias is None:
        return set()
    rows = FailedJob.objects.using(alias).filter(uuid__in=uuids)
    return set(rows.values_list("uuid", flat=True))


def _parked(uuids: list[UUID]) -> set[UUID]:
    from djqueue.models import Outbox

    found: set[UUID] = set()
    for alias in settings().databases:
        rows = Outbox.objects.using(alias).filter(uuid__in=uuids)
        found.update(rows.values_list("uuid", flat=True))
    return found


def _guarded(uuids: list[UUID]) -> set[UUID]:
    """Return the ids that a worker has begun and not ended, also where a store cannot be asked."""
    from djqueue.models import Run

    found: set[UUID] = set()
    for alias in settings().databases:
        rows = Run.objects.using(alias).filter(uuid__in=uuids, ended=False, cancelled=False)
        found.update(rows.values_list("uuid", flat=True))
    return found


def _queued(connection: str, uuids: list[UUID]) -> set[UUID]:
    if connection not in settings().connections:
        return set()
    inspector = queues[connection].inspector
    if inspector.capabilities.why_not("find"):
        return set()
    there = {job.id for job in inspector.find([str(uuid) for uuid in uuids])}
    return {uuid for uuid in uuids if str(uuid) in there}
