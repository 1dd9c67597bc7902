"""Jobs that this worker has done and that are to be listed: gathered in memory, written in bulk."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from django.db import DatabaseError
from django.utils import timezone

from djqueue.conf import settings
from djqueue.errors import QueueUnavailable
from djqueue.operations.reports import finished
from djqueue.runner.decision import DONE
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from djqueue.models import FinishedJob
    from djqueue.runner.outcome import End
    from djqueue.worker.store.sql import ParentSql

logger = logging.getLogger("djqueue.worker")

WRITE_EVERY = 5.0
MOST_WAITING = 1000
"""Jobs that are written at a time: of a burst the last ones, so that it is not slowed down."""


class _Done(NamedTuple):
    """What is kept in memory of a job that is done: not its payload, which may be large."""

    id: str
    name: str
    queue: str
    attempt: int
    duration: float
    at: datetime


class FinishedJobs:
    """What is not written yet. It is lost with the worker, and if its database is away."""

    def __init__(self, sql: ParentSql, connection: str) -> None:
        self._sql = sql
        self._connection = connection
        self._waiting: deque[_Done] = deque(maxlen=MOST_WAITING)

    def add(self, ends: Sequence[End]) -> None:
        """Note those of `ends`, which are stored, that are of jobs that are done."""
        now = timezone.now()
        self._waiting.extend(_done(each, now) for each in ends if each.outcome.decision is DONE)

    def write(self) -> None:
        """Write down what was noted since the last time."""
        if not self._waiting:
            return
        rows = [self._row(done) for done in self._waiting if _is_uuid(done.id)]
        self._waiting.clear()
        try:
            self._sql.ask(settings().job_database, lambda: finished.keep(rows))
        except (QueueUnavailable, DatabaseError) as error:
            logger.info("Finished jobs could not be written: %s", error)

    def _row(self, done: _Done) -> FinishedJob:
        from djqueue.models import FinishedJob

        return FinishedJob(
            uuid=done.id,
            name=one_line(done.name)[:255],
            queue=done.queue,
            connection=self._connection,
            attempts=done.attempt,
            duration=done.duration,
            finished_at=done.at,
        )


def _done(end: End, now: datetime) -> _Done:
    job = end.reservation
    return _Done(job.id, job.name, job.queue, job.attempt, end.outcome.duration, now)


def _is_uuid(id: str) -> bool:
    """Return whether an id is one, which is the store's word."""
    try:
        UUID(id)
    except ValueError:
        return False
    return True
