"""What the metrics say: each family, and where its numbers come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from djqueue.conf import settings
from djqueue.databases import counting
from djqueue.drivers.slices import slices
from djqueue.finish.failed import table
from djqueue.metrics.exposition import Family
from djqueue.operations.reports.queues.queue_status import QueueStatus
from djqueue.operations.reports.queues.status import report
from djqueue.operations.reports.workers import workers
from djqueue.statistics.histogram import BOUNDS
from djqueue.statistics.reading import JobStatistics, since_ever

__all__ = ["AT_MOST", "MOST_JOBS", "families"]

AT_MOST = 10_000
"""Rows that are counted for a number; there may be more."""
MOST_JOBS = 200
"""Jobs that have series of their own; the others are summed up as ``other``."""
WITHIN = 2.0
"""Seconds in which a store that is no database has to answer."""
SLICE = 100
"""Queues in a statement."""
_Place = tuple[str, str]
"""A connection and a queue."""


def families() -> Iterator[Family]:
    """Yield what stores and statistics say. Raises `DatabaseError` if a database cannot be asked
    that has no jobs of its own.
    """
    seen = report(within=WITHIN, at_most=AT_MOST)
    totals = since_ever(MOST_JOBS)
    places = [(each.connection, each.queue) for each in seen.queues]
    errors = Family("djqueue_scrape_errors", "gauge", "Connections that could not be asked.")
    errors.add(len(seen.unreachable))
    yield errors
    yield from _queues(seen.queues)
    yield _failed({*places, *((each.connection, each.queue) for each in totals)})
    yield _workers(places)
    yield from _ends(totals)


def _queues(seen: Sequence[QueueStatus]) -> Iterator[Family]:
    jobs = Family("djqueue_jobs", "gauge", f"Jobs by state. Counted up to {AT_MOST}.")
    oldest = Family(
        "djqueue_oldest_ready_seconds",
        "gauge",
        "How long the oldest job has been waiting; 0 if none waits.",
    )
    paused = Family("djqueue_queue_paused", "gauge", "1 if the queue is paused, else 0.")
    for each in seen:
        place = {"connection": each.connection, "queue": each.queue}
        counts = each.counts
        running = None if counts.reserved is None else max(counts.reserved - each.stuck, 0)
        states = {"ready": counts.waiting, "delayed": counts.delayed, "running": running}
        for state, number in {**states, "stuck": each.stuck}.items():
            if number is not None:
                jobs.add(number, **place, state=state)
        if counts.oldest_at is not None or counts.waiting == 0:
            oldest.add(round(each.oldest or 0.0, 3), **place)
        paused.add(each.paused, **place)
    return iter((jobs, oldest, paused))


def _failed(places: Collection[_Place]) -> Family:
    found = Family("djqueue_failed_jobs", "gauge", f"Failed jobs. Counted up to {AT_MOST}.")
    if settings().failed_jobs is not None:
        rows = table()
        for some in slices(sorted(places), SLICE):
            asked = [
                counting.number(rows.filter(connection=connection, queue=queue), AT_MOST)
                for connection, queue in some
            ]
            for (connection, queue), number in zip(
                some, counting.answers(rows.db, asked), strict=True
            ):
                found.add(number, connection=connection, queue=queue)
    return found


def _workers(places: Collection[_Place]) -> Family:
    found = Family(
        "djqueue_workers",
        "gauge",
        "Workers that read the queue: running, idle, or lost within the last hour.",
    )
    states = Counter(
        (each.connection, queue, each.state) for each in workers() for queue in each.queues
    )
    for connection, queue in sorted({*places, *(key[:2] for key in states)}):
        for state in ("running", "idle", "lost"):
            number = states[connection, queue, state]
            found.add(number, connection=connection, queue=queue, state=state)
    return found


def _ends(totals: Sequence[JobStatistics]) -> Iterator[Family]:
    ended = Family("djqueue_jobs_processed_total", "counter", "Attempts that ended, by outcome.")
    took = Family("djqueue_job_duration_seconds", "histogram", "How long jobs took that are done.")
    waited = Family(
        "djqueue_job_wait_seconds", "histogram", "How long jobs waited for a worker. A sample."
    )
    for each in totals:
        what = {"connection": each.connection, "queue": each.queue, "job": each.name}
        for outcome in ("done", "released", "failed"):
            ended.add(getattr(each, outcome), **what, outcome=outcome)
        took.add_histogram(BOUNDS, each.runtimes, **what)
        waited.add_histogram(BOUNDS, each.waits, **what)
    return iter((ended, took, waited))
