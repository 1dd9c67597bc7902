"""Results as operators read them, and their end."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from djqueue.compat import delete_rows
from djqueue.databases.now import UtcNow
from djqueue.errors import QueueUnavailable
from djqueue.operations.failed_jobs import CANDIDATES, not_found
from djqueue.operations.payload_pruning import still_needed
from djqueue.results import asking, rows
from djqueue.text import short_ids as ids
from djqueue.text.masking import masked, masked_text

if TYPE_CHECKING:
    from djqueue.models import JobResult

__all__ = ["describe", "find", "prune", "shown"]

SLICE = 500


def find(text: str) -> JobResult | None:
    """Return the result of the job whose id is `text`, or begins or ends with it; None where none
    are kept. Raises `JobNotFound`.
    """
    alias = rows.store()
    if alias is None:
        return None
    part = ids.digits(text)
    whole = len(part) == ids.LENGTH
    like = Q(id__startswith=ids.as_begin(part)) | Q(id__endswith=ids.as_end(part))
    found = list(rows.table(alias).filter(Q(id=part) if whole else like)[: CANDIDATES + 1])
    if len(found) == 1:
        return found[0]
    raise not_found("result", text, [str(row.id) for row in found])


def shown(id: str) -> dict[str, Any]:
    """Return ``progress``, ``result`` and ``owner`` of a job, as far as they are known."""
    row = asking.read(id)
    return {} if row is None else _about(row)


def describe(row: JobResult) -> dict[str, Any]:
    """Return everything about a result whose job is in no store any more."""
    return {
        "id": str(row.id),
        "name": row.name,
        "queue": row.queue,
        "connection": row.connection,
        "state": str(asking.ended_as(row) or asking.JobStatus.UNKNOWN),
        "created_at": row.created_at,
        "finished_at": row.finished_at,
        **_about(row),
        **({} if row.error is None else {"error": masked_text(row.error)}),
    }


def _about(row: JobResult) -> dict[str, Any]:
    progress = asking.progress_of(row)
    about: dict[str, Any] = {}
    if progress is not None:
        said = f": {masked_text(progress.message)}" if progress.message else ""
        about["progress"] = f"{progress.done:g} of {progress.total:g} ({progress.percent} %){said}"
    if row.value is not None:
        about["result"] = masked(json.loads(row.value))
    if row.owner:
        about["owner"] = row.owner
    return about


def prune(end: float) -> None:
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
    except QueueUnavailable:
        kept = set(every)
    later = UtcNow() + timedelta(days=1)
    rows.table(alias).filter(pk__in=kept).update(keep_until=later)
    gone = [id for id in every if id not in kept]
    delete_rows(rows.table(alias).filter(pk__in=gone, finished_at=None))
