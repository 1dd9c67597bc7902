"""Workers as operators see them: who is there, what each runs, and since when."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

from djqueue.conf import settings
from djqueue.databases.now import UtcNow, aware
from djqueue.dispatch import controls
from djqueue.dispatch.connections import members

if TYPE_CHECKING:
    from djqueue.models import Worker

__all__ = ["RunningJob", "WorkerFacts", "running_jobs", "workers"]


class RunningJob(NamedTuple):
    """A job that a worker runs."""

    id: str
    name: str
    since: datetime
    """By the clock of the worker's machine."""


class WorkerFacts(NamedTuple):
    """What is known of a worker."""

    name: str
    hostname: str
    pid: int
    connection: str
    queues: list[str]
    alive: bool
    state: str
    """``running``, ``idle``, or ``lost``: it has not renewed its lease."""
    running: list[RunningJob]
    """As of its last report, a few seconds ago."""
    memory: int | None
    """Bytes of its processes; None where it has not reported them."""
    version: str
    """The version of djqueue that it runs."""
    started_at: datetime
    alive_until: datetime
    key: str
    """What names it in requests, as `djqueue.dispatch.controls.worker_key` makes it."""


def workers(connection: str | None = None) -> list[WorkerFacts]:
    """Return the workers of a connection, or of all: living ones first. Where a connection passes
    its jobs on, those of its members. Lost ones are known for an hour. Raises `UnknownConnection`.
    """
    from djqueue.models import Worker

    names = None if connection is None else members(connection)
    found: dict[tuple[object, ...], WorkerFacts] = {}
    for alias in settings().databases:
        rows = Worker.objects.using(alias).annotate(now=UtcNow())
        if names is not None:
            rows = rows.filter(connection__in=names)
        for row in rows.order_by("connection", "name", "id"):
            facts = _facts(row, row.now, controls.worker_key(alias, row.pk))
            found.setdefault((row.hostname, row.pid, row.connection, row.started_at), facts)
    return sorted(found.values(), key=lambda each: (not each.alive, each.connection, each.name))


def _facts(row: Worker, now: datetime, key: str) -> WorkerFacts:
    until, started = aware(row.alive_until), aware(row.started_at)
    assert until is not None and started is not None  # noqa: S101, PT018 - no NULL there
    alive = until > (aware(now) or now)
    running = running_jobs(row.running)
    state = ("running" if running else "idle") if alive else "lost"
    return WorkerFacts(
        row.name,
        row.hostname,
        row.pid,
        row.connection,
        row.queues.split(","),
        alive,
        state,
        running,
        row.memory,
        row.version,
        started,
        until,
        key,
    )


def running_jobs(text: str) -> list[RunningJob]:
    """Return the jobs that a worker has reported; none where the text is damaged."""
    try:
        found = json.loads(text) if text else []
        return [
            RunningJob(str(id), str(name), _epoch + timedelta(seconds=float(since)))
            for id, name, since in found
        ]
    except (ValueError, TypeError, OverflowError):
        return []


_epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
