"""How a worker on SQLite learns of a push: the database's change counter.

``PRAGMA data_version`` changes when another connection has committed. It takes no lock and reads
no table. Cheaper still is a look at the file that a commit writes to: while it has no new time or
size, the counter is asked now and then only, in case a file system's clock is too coarse to tell.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from djqueue.drivers.base import Wakeup

if TYPE_CHECKING:
    from djqueue.drivers.database.vendors.dialect import Dialect

ASK_AT_LEAST = 0.5
"""Seconds after which the counter is asked whatever the file looks like."""


class Counter:
    """Counts the commits of others."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._version: int | None = None

    def has_changed(self) -> bool:
        """Return whether a commit has happened since the last call."""
        last, self._version = self._version, self._dialect.rows("PRAGMA data_version")[0][0]
        return self._version != last


def files_of(dialect: Dialect) -> tuple[str, str]:
    """Return the files that a commit writes to: the write-ahead log, or the database if there is
    none.
    """
    name = str(dialect.connection.settings_dict["NAME"])
    return f"{name}-wal", name


class ChangeWakeup(Wakeup):
    """Polled; see `Wakeup.fileno`."""

    def __init__(self, dialect: Dialect) -> None:
        self._counter = Counter(dialect)
        self._files = files_of(dialect)
        self._stamp: tuple[int, int] | None = None
        self._ask_at = 0.0

    def arrived(self) -> bool:
        stamp, now = self._look(), time.monotonic()
        if stamp is not None and stamp == self._stamp and now < self._ask_at:
            return False
        changed = self._counter.has_changed()
        # A commit is written first and counted then: we may have come in between.
        again = stamp != self._stamp and not changed
        self._stamp = stamp
        self._ask_at = now if again else now + ASK_AT_LEAST
        return changed

    def _look(self) -> tuple[int, int] | None:
        """Return time and size of the file; None for a database without one."""
        for name in self._files:
            try:
                status = os.stat(name)  # noqa: PTH116 - many times a second
            except OSError:
                continue
            return status.st_mtime_ns, status.st_size
        return None
