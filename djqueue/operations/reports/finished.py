"""Jobs that were done a short while ago, where ``DJQUEUE["KEEP_DONE"]`` keeps them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from djqueue.compat import delete_rows
from djqueue.conf import settings
from djqueue.databases.now import aware

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django.db.models import QuerySet

    from djqueue.models import FinishedJob

__all__ = ["MOST", "done_job", "finished", "keep", "old", "table"]

MOST = 10_000
"""Jobs that are kept at most; the newest ones."""
SLICE = 100


def table() -> QuerySet[FinishedJob]:
    """Return all rows."""
    from djqueue.models import FinishedJob

    return FinishedJob.objects.using(settings().job_database)


def finished(
    connections: Sequence[str], queue: str | None = None, name: str | None = None
) -> QuerySet[FinishedJob]:
    """Return the jobs of `connections` that were done within the time of the setting, the newest
    first.
    """
    rows = table().filter(finished_at__gt=_begin(), connection__in=connections)
    given = {"queue": queue, "name": name}
    wanted = {key: value for key, value in given.items() if value is not None}
    return rows.filter(**wanted).order_by("-id")


def done_job(row: FinishedJob) -> dict[str, object]:
    """Return a job as lists have it."""
    return {
        "id": str(row.uuid),
        "name": row.name,
        "queue": row.queue,
        "connection": row.connection,
        "attempts": row.attempts,
        "duration": round(row.duration, 6),
        "finished_at": aware(row.finished_at),
    }


def old() -> QuerySet[FinishedJob]:
    """Return the rows that are kept no longer."""
    return table().filter(finished_at__lte=_begin())


def keep(jobs: Sequence[FinishedJob]) -> None:
    """Write jobs, and delete the oldest ones above `MOST`."""
    table().bulk_create(jobs, batch_size=SLICE)
    last = table().order_by("-id").values_list("id", flat=True)[MOST : MOST + 1].first()
    if last is not None:
        delete_rows(table().filter(id__lte=last), settings().job_database)


def _begin() -> datetime:
    return timezone.now() - timedelta(seconds=settings().keep_done)
