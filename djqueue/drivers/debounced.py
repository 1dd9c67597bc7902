"""Debounced jobs, which wait in the outbox: one row for each key, until a worker takes it.

`djqueue_debounced` says which job a key has, or had last. The row of that job says whether it can
still be replaced: replacing it and taking it are each one conditional UPDATE of that row, so a
dispatch is either in it or in the next one. The keys are not a column of the outbox, since every
plain INSERT there would look for them.

Locks are taken in one order, the row of a key and then that of its job: also where there is nothing
to replace, since MySQL and MariaDB may go on locking a row that was deleted meanwhile. Workers lock
no row of a key, and pass over jobs that are locked. So dispatches wait for those of the same key
only, and no worker for a dispatch.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.db.models.functions import Least

from djqueue.databases.locking import delete_unlocked
from djqueue.databases.now import UtcNow
from djqueue.drivers import parking
from djqueue.drivers.types import OutboxRow
from djqueue.payload.parts import with_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from django.db.models import QuerySet
    from django.db.models.expressions import Combinable

    from djqueue.drivers.base import OutgoingJob
    from djqueue.models import Debounced, Outbox

__all__ = ["Wish", "forget", "key_of", "put"]


class Wish(NamedTuple):
    """How a debounced job is to wait."""

    key: str
    seconds: float
    """From the last dispatch of the key."""
    longest: float | None
    """Seconds from the first one; None: no limit."""


def put(alias: str, connection: str, job: OutgoingJob, wish: Wish) -> str:
    """Let `job` wait, in place of the one that waits with its key, as a part of the open
    transaction of `alias`. Return the id of the one that waits from now on: that of the replaced
    one, if there was one.
    """
    _lock(alias, wish.key, job.id)
    before = str(_keys(alias).values_list("job", flat=True).get(key=wish.key))
    if before != job.id:
        if _waiting(alias, before).update(**_columns(before, connection, job, wish)):
            return before
        _keys(alias).filter(key=wish.key).update(job=job.id)
    waits = job._replace(delay=wish.seconds)
    parking.insert(alias, [OutboxRow(connection, waits, parked=True, debounced=True)])
    return job.id


def _lock(alias: str, key: str, job: str) -> None:
    """Lock the row of a key until the transaction ends; write one with that job where there is
    none.
    """
    from djqueue.models import Debounced

    # One statement that locks as an UPDATE does in either case. Of several INSERTs that meet one
    # that is rolled back, MySQL and MariaDB would let all go on but for a deadlock.
    names_target = transaction.get_connection(alias).features.supports_update_conflicts_with_target
    _keys(alias).bulk_create(
        [Debounced(key=key, job=job, asked_at=UtcNow())],
        update_conflicts=True,
        unique_fields=["key"] if names_target else None,
        update_fields=["asked_at"],
    )


def _columns(id: str, connection: str, job: OutgoingJob, wish: Wish) -> Mapping[str, Any]:
    due_at: Combinable = UtcNow() + timedelta(seconds=wish.seconds)
    if wish.longest is not None:
        due_at = Least(due_at, F("created_at") + timedelta(seconds=wish.longest))
    return {
        "connection": connection,
        "queue": job.queue,
        "payload": with_id(job.payload, id),
        "priority": job.priority,
        "message_group": job.message_group,
        "deduplication_id": job.deduplication_id,
        "due_at": due_at,
    }


def key_of(alias: str, id: str) -> str:
    """Return the key of a job that waits and can be replaced; an empty text for any other job."""
    if not _waiting(alias, id).exists():
        return ""
    return _keys(alias).filter(job=id).values_list("key", flat=True).first() or ""


def forget(alias: str, limit: int) -> int:
    """Delete up to `limit` rows of keys whose jobs do not wait any more. Return their number."""
    from djqueue.models import Outbox

    waiting = Outbox.objects.filter(uuid=OuterRef("job"), debounced=True)
    old = dict(_keys(alias).filter(~Exists(waiting)).values_list("key", "job")[:limit])
    # A dispatch may give a key to another job meanwhile, and never to the same one again.
    return delete_unlocked(_keys(alias).filter(key__in=list(old), job__in=list(old.values())))


def _waiting(alias: str, id: str) -> QuerySet[Outbox]:
    from djqueue.models import Outbox

    return Outbox.objects.using(alias).filter(uuid=id, debounced=True)


def _keys(alias: str) -> QuerySet[Debounced]:
    from djqueue.models import Debounced

    return Debounced.objects.using(alias)
