"""How a worker on SQLite learns of a push: the database's change counter.

``PRAGMA data_version`` changes when another connection has committed. It takes no lock and reads
no table, so it may be asked often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from djqueue.drivers.base import Wakeup

if TYPE_CHECKING:
    from djqueue.drivers.database.dialect import Dialect


class ChangeWakeup(Wakeup):
    """Polled; see `Wakeup.fileno`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._seen: int | None = None

    def arrived(self) -> bool:
        version = int(self._dialect.rows("PRAGMA data_version")[0][0])
        changed = version != self._seen
        self._seen = version
        return changed
