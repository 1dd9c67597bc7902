"""What the row of a worker in `djqueue_workers` says to operators; and the row itself, for workers
of stores that write none. No lease hangs on this. SQL that is away keeps no worker from its work.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import DatabaseError

from djqueue.compat import delete_rows
from djqueue.conf import settings
from djqueue.databases.now import UtcNow
from djqueue.drivers import clock
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.drivers.base import WorkerIdentity
    from djqueue.models import Worker
    from djqueue.worker.store.sql import ParentSql

ALIVE = 20.0
"""Seconds for which the row says that the worker is alive."""
EVERY = ALIVE / 4
KEEP_DEAD = 3600.0
"""Seconds that the row of a dead worker stays, for operators to see."""


MOST_SHOWN = 20
"""Running jobs that a row names."""


class Activity(NamedTuple):
    """What a worker is doing."""

    running: Sequence[tuple[str, str, float]]
    """Ids and names of jobs, and the seconds for which they have been running."""
    memory: int
    """Bytes that its processes occupy."""

    def columns(self) -> dict[str, Any]:
        """Return the columns that say so."""
        now = time.time()
        shown = [(id, name[:100], round(now - s, 1)) for id, name, s in self.running[:MOST_SHOWN]]
        running = json.dumps(shown) if shown else ""
        return {"running": running, "memory": self.memory or None, "version": _version()}


@cache
def _version() -> str:
    try:
        return metadata.version("djqueue")[:50]
    except metadata.PackageNotFoundError:
        return ""


class Presence:
    """The row of one worker."""

    def __init__(
        self, sql: ParentSql, identity: WorkerIdentity, connection: str, alias: str | None
    ) -> None:
        """`alias`: the database in which the store keeps the row, if it does."""
        self._sql = sql
        self._identity = identity
        self._connection = connection
        self._is_own = alias is None
        self.alias = alias or settings().job_database
        self._row: int | None = None

    @property
    def row(self) -> int | None:
        """The key of the row, if it is not the store that writes it."""
        return self._row

    def renew(self, activity: Activity) -> float:
        """Record that the worker is alive, and what it does. Return when to do so again."""
        self._ask(lambda: self._renew(activity) if self._is_own else self._tell(activity))
        return clock.now() + EVERY

    def leave(self) -> None:
        """Record that the worker is about to end."""
        if self._row is not None:
            row = self._row
            self._ask(lambda: delete_rows(self._rows.filter(pk=row), self.alias))

    def _ask(self, question: Callable[[], object]) -> None:
        with suppress(QueueUnavailable, DatabaseError):
            self._sql.ask(self.alias, question)

    def _tell(self, activity: Activity) -> None:
        """Write into the row that the store keeps."""
        worker = self._identity
        mine = {"hostname": worker.hostname[:255], "pid": worker.pid}
        rows = self._rows.filter(connection=self._connection, alive_until__gt=UtcNow(), **mine)
        rows.update(**activity.columns())

    def _renew(self, activity: Activity) -> None:
        until, said = UtcNow() + timedelta(seconds=ALIVE), activity.columns()
        if self._row is None or not self._rows.filter(pk=self._row).update(
            alive_until=until, **said
        ):
            worker = self._identity
            self._row = self._rows.create(
                name=worker.name,
                hostname=worker.hostname,
                pid=worker.pid,
                connection=self._connection,
                queues=",".join(worker.queues),
                started_at=UtcNow(),
                alive_until=until,
                **said,
            ).pk
            long_dead = UtcNow() - timedelta(seconds=KEEP_DEAD)
            dead = self._rows.filter(connection=self._connection, alive_until__lt=long_dead)
            delete_rows(dead, self.alias)

    @property
    def _rows(self) -> QuerySet[Worker]:
        from djqueue.models import Worker

        return Worker.objects.using(self.alias)
