"""What the counts of workers say: over the last hour, the last day, or since the first job."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import Case, F, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce
from django.utils.translation import gettext

from djqueue.conf import settings
from djqueue.operations.words import span
from djqueue.statistics.histogram import COUNTS, RUNTIMES, WAITS, Times, times
from djqueue.statistics.tally import OTHER
from djqueue.statistics.writing import EVER, HOUR, MINUTE

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.models import Minute

__all__ = ["DAY", "LAST_HOUR", "Bucket", "JobStatistics", "Numbers", "by_minute"]
__all__ += ["counted_queues"]
__all__ += ["in_buckets", "of_job", "of_jobs", "of_queues", "since_ever"]

LAST_HOUR, DAY = 3600, 86400


class Numbers(NamedTuple):
    """Ends of attempts, by minute."""

    at: datetime
    done: int
    failed: int
    released: int


class Bucket(NamedTuple):
    """Ends of attempts in a minute or an hour, with how long they took and waited."""

    at: datetime
    done: int
    failed: int
    released: int
    runtime: Times
    wait: Times


class JobStatistics(NamedTuple):
    """What is known of a job in a queue, or of all jobs of a queue."""

    connection: str
    queue: str
    name: str
    """The job's; empty for a whole queue."""
    done: int
    failed: int
    released: int
    """Attempts that were followed by another."""
    runtime: Times
    """Of attempts that were done."""
    wait: Times
    """Of a random sample: from the dispatch, or the end of its delay, to the start."""
    runtimes: Sequence[int]
    """The counts of the histogram's buckets."""
    waits: Sequence[int]

    @property
    def usually(self) -> str:
        """Return how long it takes, as ``usually takes 4 s``; an empty text if unknown."""
        if self.runtime.p50 is None:
            return ""
        if self.runtime.p50 < 1:
            return gettext("usually takes under 1 s")
        return gettext("usually takes %s") % span(self.runtime.p50)


def of_jobs(
    seconds: int = LAST_HOUR, connection: str | None = None, queue: str | None = None
) -> list[JobStatistics]:
    """Return the statistics of each job in each queue over the last `seconds`, of one connection
    or queue, or of all. Above an hour they are of whole hours, the present one included.
    """
    return _added_up(_last(seconds, connection, queue), "connection", "queue", "name")


def of_queues(
    seconds: int = LAST_HOUR, connection: str | None = None, queue: str | None = None
) -> list[JobStatistics]:
    """Do as `of_jobs` for whole queues."""
    return _added_up(_last(seconds, connection, queue), "connection", "queue")


def of_job(connection: str, queue: str, name: str) -> JobStatistics | None:
    """Return the statistics of a job in a queue over the last day, in whole hours; None if none of
    it ended.
    """
    hour = int(time.time()) // HOUR * HOUR
    hours = [hour - each * HOUR for each in range(DAY // HOUR + 1)]
    rows = _of(_rows().filter(span=HOUR, at__in=hours, name=name), connection, queue)
    return next(iter(_added_up(rows, "connection", "queue", "name")), None)


def since_ever(most: int | None = None) -> list[JobStatistics]:
    """Return the statistics of each job in each queue since the first one. With `most`, only of
    that many, which are always the same; the others of a queue are summed up as `OTHER`.
    """
    rows = _rows().filter(span=EVER, at=0)
    if most is not None:
        behind = rows.order_by("pk").values("pk")[most : most + 1]
        begin = Coalesce(Subquery(behind), 2**63 - 1)
        job = Case(When(pk__lt=begin, then=F("name")), default=Value(OTHER))
        return _added_up(rows.annotate(job=job), "connection", "queue", "job")
    return _added_up(rows, "connection", "queue", "name")


def by_minute(
    seconds: int = LAST_HOUR, connection: str | None = None, queue: str | None = None
) -> list[Numbers]:
    """Return what ended in each minute of the last `seconds`, up to a day, in order. Minutes in
    which nothing ended are left out.
    """
    rows = _of(_rows().filter(span=MINUTE, at__gt=time.time() - seconds), connection, queue)
    found = rows.values_list("at").annotate(*map(Sum, ("done", "failed", "released")))
    return [
        Numbers(datetime.fromtimestamp(at, timezone.utc), *numbers)
        for at, *numbers in found.order_by("at")
    ]


def counted_queues(at_most: int = 200) -> list[tuple[str, str]]:
    """Return the connections and queues of which something was counted in the last day."""
    rows = _last(DAY, None, None).values_list("connection", "queue").distinct()
    return list(rows.order_by("connection", "queue")[:at_most])


def in_buckets(
    seconds: int = LAST_HOUR, connection: str | None = None, queue: str | None = None
) -> list[Bucket]:
    """Return what ended in each minute of the last `seconds`, above an hour in each hour, in order,
    with how long that took and waited. Those in which nothing ended are left out.
    """
    rows = _last(seconds, connection, queue)
    sums = {f"all_{each}": Sum(each) for each in COUNTS}
    found: Iterable[Mapping[str, Any]] = rows.values("at").annotate(**sums).order_by("at")
    return list(map(_bucket_of, found))


def _bucket_of(row: Mapping[str, Any]) -> Bucket:
    number = {each: int(row[f"all_{each}"]) for each in COUNTS}
    return Bucket(
        datetime.fromtimestamp(row["at"], timezone.utc),
        number["done"],
        number["failed"],
        number["released"],
        times([number[each] for each in RUNTIMES]),
        times([number[each] for each in WAITS]),
    )


def _last(seconds: int, connection: str | None, queue: str | None) -> QuerySet[Minute]:
    span = MINUTE if seconds <= LAST_HOUR else HOUR
    return _of(_rows().filter(span=span, at__gt=time.time() - seconds), connection, queue)


def _of(rows: QuerySet[Minute], connection: str | None, queue: str | None) -> QuerySet[Minute]:
    if connection is not None:
        rows = rows.filter(connection=connection)
    return rows if queue is None else rows.filter(queue=queue)


def _added_up(rows: QuerySet[Minute], *by: str) -> list[JobStatistics]:
    sums = {f"all_{each}": Sum(each) for each in COUNTS}
    found = rows.values(*by).annotate(**sums).order_by(*by)
    return [_statistics_of(row) for row in found]


def _statistics_of(row: dict[str, Any]) -> JobStatistics:
    def summed(columns: Sequence[str]) -> list[int]:
        return [int(row[f"all_{each}"]) for each in columns]

    done, failed, released = summed(("done", "failed", "released"))
    runtimes, waits = summed(RUNTIMES), summed(WAITS)
    return JobStatistics(
        row["connection"],
        row["queue"],
        row.get("name", row.get("job", "")),
        done,
        failed,
        released,
        times(runtimes),
        times(waits),
        runtimes,
        waits,
    )


def _rows() -> QuerySet[Minute]:
    from djqueue.models import Minute

    return Minute.objects.using(settings().job_database)
