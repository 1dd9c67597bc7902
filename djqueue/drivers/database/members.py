"""Members of a batch in the jobs table, found by the batch that their rows name."""

from __future__ import annotations

from djqueue.compat import delete_rows
from djqueue.drivers.database.rows import jobs

__all__ = ["remove_waiting"]


def remove_waiting(alias: str, batch: str, after: int, limit: int) -> dict[int, str]:
    """Delete members that no worker holds, as a part of the open transaction of `alias`: the first
    `limit` of them whose rows have larger numbers than `after`. Return their payloads by these
    numbers. Rows that others lock at this moment are left out.
    """
    waiting = jobs(alias).filter(batch_id=batch, id__gt=after, reserved_by__isnull=True)
    locked = waiting.order_by("id").select_for_update(skip_locked=True)
    found = dict(locked.values_list("id", "payload")[:limit])
    if found:
        delete_rows(jobs(alias).filter(id__in=list(found)))
    return found
