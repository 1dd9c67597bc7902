"""The statistics of one worker: counted in memory, written once a minute."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.db import DatabaseError

from djqueue.conf import settings
from djqueue.databases.errors import may_have_committed
from djqueue.errors import QueueUnavailable
from djqueue.statistics.tally import Tally
from djqueue.statistics.writing import write

if TYPE_CHECKING:
    from djqueue.runner.outcome import End
    from djqueue.worker.store.sql import ParentSql

logger = logging.getLogger("djqueue.worker")

WRITE_EVERY = 60.0


class Statistics:
    """What the worker has counted. Counts may be lost in an outage; none is written twice."""

    def __init__(self, sql: ParentSql, connection: str) -> None:
        self._sql = sql
        self._connection = connection
        self._alias = settings().job_database
        self._tally = Tally()

    def add(self, ends: Sequence[End]) -> None:
        """Count `ends`, which are stored."""
        self._tally.add(ends, time.time())

    def write(self) -> None:
        """Write down what was counted since the last time."""
        taken = self._tally.take()
        if not taken.counts:
            return
        alias = self._alias
        counts, now = taken.rows(), time.time()
        try:
            self._sql.ask(alias, lambda: write(alias, self._connection, counts, now))
        except (QueueUnavailable, DatabaseError) as error:
            cause = error.__cause__
            if isinstance(cause, DatabaseError) and not may_have_committed(cause):
                self._tally.put_back(taken)
            logger.info("Statistics could not be written: %s", error)
