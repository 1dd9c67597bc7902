"""What is wrong at this moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from django.db import connections

from djqueue.conf import settings
from djqueue.databases.now import UtcNow
from djqueue.dispatch import controls
from djqueue.operations import failed_jobs
from djqueue.operations.reports.queues.problems import resume_command
from djqueue.operations.reports.queues.status import Report, report
from djqueue.operations.words import in_english, number_of, span
from djqueue.text import shell
from djqueue.text.masking import masked_text
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from djqueue.models import Worker

__all__ = ["Found", "find", "is_pruned"]

FAILED_WITHIN = 300.0
"""Seconds within which failures are counted."""
MOST_FAILURES = 1000
"""Failures that are read; there may be more."""
ALIVE = 20.0
"""Seconds for which the row of a worker says at most that it is alive."""
_LOST = "djqueue.errors.WorkerLost"


class Found(NamedTuple):
    """Something that is wrong."""

    key: str
    text: str
    """What is wrong, and what to do about it."""


def find() -> tuple[list[Found], bool]:
    """Return what is wrong, and whether every connection could be asked."""
    seen = report()
    with in_english():  # in English, whatever reads it
        found = [*_lost_workers(), *_long_waits(seen), *_failures(), *_forgotten_pauses()]
    return found, not seen.unreachable


def _aliases() -> list[str]:
    ours = settings()
    stores = [each.database for each in ours.connections.values() if each.jobs_in_sql]
    return list(dict.fromkeys([ours.job_database, *stores]))


def _lost_workers() -> Iterator[Found]:
    """Find workers whose lease has expired, and that no other one has replaced."""
    from djqueue.models import Worker

    for alias in _aliases():
        rows = list(Worker.objects.using(alias).annotate(now=UtcNow()).order_by("pk"))
        lost = [row for row in rows if row.alive_until <= row.now]
        for row in _not_replaced(lost, rows):
            name = one_line(row.name)
            text = (
                f"Worker {name} of {row.connection} ({row.queues}) has stopped reporting. "
                "Other workers take over its jobs; start it again if its supervisor does not."
            )
            yield Found(f"worker:{alias}:{row.pk}", text)


def _not_replaced(lost: Sequence[Worker], everyone: Iterable[Worker]) -> list[Worker]:
    """Return those of `lost` in whose place no worker was started. Each replaces one, and may be
    lost itself.
    """
    others = sorted(everyone, key=lambda row: row.started_at)
    left = []
    for row in sorted(lost, key=lambda row: row.alive_until):
        place = next((each for each in others if _replaces(each, row)), None)
        if place is None:
            left.append(row)
        else:
            others.remove(place)
    return left


def _replaces(worker: Worker, lost: Worker) -> bool:
    """Return whether `worker` may have been started in the place of `lost`: not before that was
    last seen. Workers that ran beside it are no replacement.
    """
    if (worker.connection, worker.queues) != (lost.connection, lost.queues):
        return False
    same = worker.name == lost.name or worker.hostname == lost.hostname
    seen = lost.alive_until - timedelta(seconds=_lease(lost.connection))
    return same and worker.started_at > max(seen, lost.started_at)


def _lease(connection: str) -> float:
    """Return for how long a worker of `connection` says at once that it is alive, in seconds."""
    known = settings().connections.get(connection)
    return min(known.retry_after, ALIVE) if known is not None and known.jobs_in_sql else ALIVE


def is_pruned(key: str) -> bool:
    """Return whether an incident is that of a worker whose row was removed: whether it was
    replaced is not known.
    """
    from djqueue.models import Worker

    kind, _, place = key.partition(":")
    alias, _, row = place.rpartition(":")
    if kind == "worker" and alias not in connections:
        return True  # the alias has another name now
    return kind == "worker" and not Worker.objects.using(alias).filter(pk=row).exists()


def _long_waits(seen: Report) -> Iterator[Found]:
    limit = settings().notify.wait
    for one in seen.queues:
        if not one.paused and one.oldest is not None and one.oldest >= limit:
            place = f"{one.connection}:{one.queue}"
            reads = "no worker reads it" if one.workers == 0 else "its workers are too few"
            text = (
                f"{place} has {number_of(one.counts.waiting or 0, 'waiting job')}, the oldest for "
                f"{span(one.oldest)}: {reads}. Start one: "
                f"{shell.manage('queue_work', one.connection, '--queue', one.queue)}"
            )
            yield Found(f"waits:{place}"[:200], text)


def _failures() -> Iterator[Found]:
    """Find a burst of failures, and jobs that were given up because their worker died each time."""
    if settings().failed_jobs is None:
        return
    recent = failed_jobs.table().filter(failed_at__gt=UtcNow() - timedelta(seconds=FAILED_WITHIN))
    rows = list(recent.values_list("name", "exception_class")[:MOST_FAILURES])
    if len(rows) >= settings().notify.failures:
        more = "or more " if len(rows) == MOST_FAILURES else ""
        (name, error), often = Counter(rows).most_common(1)[0]
        text = (
            f"{len(rows):,} {more}jobs failed within {span(FAILED_WITHIN)}, {often:,} of them "
            f"{one_line(name)} with {one_line(error)}. Look: python manage.py queue_failed"
        )
        yield Found("failures", text)
    yield from _poison(name for name, error in rows if error == _LOST)


def _poison(names: Iterable[str]) -> Iterator[Found]:
    for name, often in Counter(names).items():
        text = (
            f"{number_of(often, 'job')} called {one_line(name)} failed because the process or the "
            f"worker died at each attempt. Look: {shell.manage('queue_failed', '--name', name)}"
        )
        yield Found(f"poison:{name}"[:200], text)


def _forgotten_pauses() -> Iterator[Found]:
    for each in controls.paused_for_long(settings().notify.pause):
        everything = each.queue == controls.EVERY_QUEUE
        place = "Every queue" if everything else f"{each.connection}:{each.queue}"
        by = f" by {one_line(each.by)}" if each.by else ""
        why = f" ({one_line(masked_text(each.reason))})" if each.reason else ""
        text = (
            f"{place} is paused{by}{why} for more than {span(settings().notify.pause)}. Let workers"
            f" go on with: {resume_command(each)}"
        )
        yield Found(f"pause:{place}", text)
