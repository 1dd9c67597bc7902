"""A row of `djqueue_workers` for workers of stores that write none themselves.

There it says to operators who runs, and nothing else: no lease hangs on it, and SQL that is away
keeps no such worker from its work.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

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


class Presence:
    """The row of one worker."""

    def __init__(self, sql: ParentSql, identity: WorkerIdentity, connection: str) -> None:
        self._sql = sql
        self._identity = identity
        self._connection = connection
        self._alias = settings().job_database
        self._row: int | None = None

    def renew(self) -> float:
        """Record that the worker is alive. Return when to do so again."""
        self._ask(self._renew)
        return clock.now() + EVERY

    def leave(self) -> None:
        """Record that the worker is about to end."""
        if self._row is not None:
            row = self._row
            self._ask(lambda: delete_rows(self._rows.filter(pk=row), self._alias))

    def _ask(self, question: Callable[[], object]) -> None:
        with suppress(QueueUnavailable, DatabaseError):
            self._sql.ask(self._alias, question)

    def _renew(self) -> None:
        until = UtcNow() + timedelta(seconds=ALIVE)
        if self._row is None or not self._rows.filter(pk=self._row).update(alive_until=until):
            worker = self._identity
            self._row = self._rows.create(
                name=worker.name,
                hostname=worker.hostname,
                pid=worker.pid,
                connection=self._connection,
                queues=",".join(worker.queues),
                started_at=UtcNow(),
                alive_until=until,
            ).pk
            long_dead = UtcNow() - timedelta(seconds=KEEP_DEAD)
            dead = self._rows.filter(connection=self._connection, alive_until__lt=long_dead)
            delete_rows(dead, self._alias)

    @property
    def _rows(self) -> QuerySet[Worker]:
        from djqueue.models import Worker

        return Worker.objects.using(self._alias)
