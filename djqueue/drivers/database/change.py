"""How a worker on SQLite learns of a push: the database's change counter.

``PRAGMA data_version`` changes when another connection has committed. It takes no lock and reads
no table. Cheaper still is a look at the files: while neither the database nor its write-ahead log
has a new time or size, the counter is asked now and then only, in case a file system's clock is
too coarse to tell.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from djqueue.drivers.base import Wakeup

if TYPE_CHECKING:
    from djqueue.drivers.database.dialect import Dialect

ASK_AT_LEAST = 0.5
"""Seconds after which the counter is asked whatever the files look like."""


class ChangeWakeup(Wakeup):
    """Polled; see `Wakeup.fileno`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        name = str(dialect.connection.settings_dict["NAME"])
        self._files = (name, f"{name}-wal")
        self._stamps: list[tuple[int, int]] | None = None
        self._version: int | None = None
        self._ask_at = 0.0

    def arrived(self) -> bool:
        stamps, now = self._look(), time.monotonic()
        if stamps and stamps == self._stamps and now < self._ask_at:
            return False
        self._stamps, self._ask_at = stamps, now + ASK_AT_LEAST
        version = int(self._dialect.rows("PRAGMA data_version")[0][0])
        changed = version != self._version
        self._version = version
        return changed

    def _look(self) -> list[tuple[int, int]]:
        """Time and size of the files that are there; none for a database without a path."""
        found = []
        for name in self._files:
            try:
                status = os.stat(name)  # noqa: PTH116 - many times a second
            except OSError:
                continue
            found.append((status.st_mtime_ns, status.st_size))
        return found
