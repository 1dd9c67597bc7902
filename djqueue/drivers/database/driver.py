"""The driver that keeps jobs in a table: PostgreSQL, MySQL, MariaDB and SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from djqueue.conf.kinds import ALIAS, FLAG, WINDOW, Option
from djqueue.drivers.base import Capabilities, Driver, OutgoingJob, WorkerIdentity
from djqueue.drivers.database.calls import Calls
from djqueue.drivers.database.inspection import DatabaseInspector
from djqueue.drivers.database.pushing import Pushing
from djqueue.drivers.database.session import DatabaseSession, lease_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from djqueue.conf import ConnectionSettings


class DatabaseDriver(Driver):
    """Jobs are rows. A push inside the caller's transaction on the same alias is part of it."""

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "DATABASE": Option("default", ALIAS),
        "WAL": Option(True, FLAG),
        "LISTEN": Option(True, FLAG),
        "PREPARE": Option(True, FLAG),
        "WINDOW": Option(100, WINDOW),
    }
    capabilities = Capabilities()
    jobs_in_sql = True
    keeps_keys = True
    shows_workers = True

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__(settings)
        self._calls = Calls(settings.database, settings.name, self.lease / 8)

    @property
    def patience(self) -> float | None:
        return self._calls.patience

    @patience.setter
    def patience(self, seconds: float | None) -> None:
        self._calls.patience = seconds

    @property
    def lease(self) -> float:
        return lease_of(self.settings)

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        if jobs:
            Pushing(self._calls).push(jobs)

    def push_unique(self, jobs: Sequence[OutgoingJob]) -> Mapping[str, str]:
        return Pushing(self._calls).push_unique(jobs) if jobs else {}

    def shares_transaction_with(self, alias: str) -> bool:
        return alias == self._calls.alias

    def session(self, worker: WorkerIdentity | None = None) -> DatabaseSession:
        return DatabaseSession(self._calls, self.settings, worker)

    def inspector(self) -> DatabaseInspector:
        return DatabaseInspector(self._calls, self.settings, self.capabilities)

    def close(self) -> None:
        self._calls.close()
