"""Members of a batch in the jobs table, found by the batch that their rows name.

Where the vendor has partial indexes, one finds them. An index of all rows would cost each insert of
a member on MySQL and MariaDB a quarter more. There the table is read in the order of its primary
key, from the row on that was the newest when the batch was dispatched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.db import connections
from django.db.models import Max

from djqueue.compat import delete_rows
from djqueue.drivers.database.rows import jobs

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.models import QueuedJob

__all__ = ["Removed", "is_indexed", "newest", "remove_waiting"]

ROWS = 5_000
"""Rows that are read for one slice without an index."""


class Removed(NamedTuple):
    """A slice of members that were removed."""

    payloads: list[str]
    last: int
    """The number of the last row that was looked at."""
    is_end: bool
    """There is none behind it."""
    left: int | None = None
    """The number of the first member among these rows that a worker holds or locks; None where an
    index finds the members, so that all are looked at again."""


def is_indexed(alias: str) -> bool:
    """Return whether an index finds the members of a batch."""
    return bool(connections[alias].features.supports_partial_indexes)


def newest(alias: str) -> int:
    """Return the largest number of a row."""
    return jobs(alias).aggregate(last=Max("id"))["last"] or 0


def remove_waiting(alias: str, batch: str, after: int, limit: int) -> Removed:
    """Delete members that no worker holds, as a part of the open transaction of `alias`: up to
    `limit` of those whose rows have larger numbers than `after`. Rows that others lock at this
    moment are left out.
    """
    if is_indexed(alias):
        rows = jobs(alias).filter(batch_id=batch, id__gt=after).order_by("id")
        found = _delete(alias, rows, limit)
        return Removed(list(found.values()), max(found, default=after), not found)
    read = list(
        jobs(alias).filter(id__gt=after).order_by("id").values_list("id", "batch_id")[:ROWS]
    )
    ids = [id for id, named in read if named == batch]
    last = ids[limit - 1] if len(ids) > limit else max((id for id, _ in read), default=after)
    found = _delete(alias, jobs(alias).filter(id__in=ids[:limit], batch_id=batch), limit)
    left = min(set(ids[:limit]) - found.keys(), default=None)
    return Removed(list(found.values()), last, not read, left)


def _delete(alias: str, rows: QuerySet[QueuedJob], limit: int) -> dict[int, str]:
    locked = rows.filter(reserved_by__isnull=True).select_for_update(skip_locked=True)
    found = dict(locked.values_list("id", "payload")[:limit])
    if found:
        delete_rows(jobs(alias).filter(id__in=list(found)))
    return found
