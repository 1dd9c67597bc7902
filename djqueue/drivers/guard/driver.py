"""The driver of a guarded store: its session, its inspector, and the guard that both ask."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from djqueue.conf import settings as every_setting
from djqueue.drivers.base import Driver, Inspector, Session
from djqueue.drivers.guard.guard import KEEP, Guard

if TYPE_CHECKING:
    from djqueue.conf import ConnectionSettings
    from djqueue.drivers.guard.session import GuardedSession
    from djqueue.drivers.types import WorkerIdentity


class GuardedDriver(Driver):
    """A driver whose guard rows are in the database that its key DATABASE names. A subclass makes
    `_session` and `_inspector`.
    """

    _session: GuardedSession[Any]
    _inspector: Inspector

    def __init__(
        self, settings: ConnectionSettings, held_for: float | None = None, keep: timedelta = KEEP
    ) -> None:
        """`held_for` and `keep`: as `Guard` takes them."""
        super().__init__(settings)
        alias = self.settings.option("DATABASE") or every_setting().job_database
        self._guard = Guard(alias, held_for, keep)

    def session(self, worker: WorkerIdentity | None = None) -> Session:
        self._session.worker = worker
        return self._session

    def inspector(self) -> Inspector:
        return self._inspector
