"""A store from all its sides, for tests that dispatch, work and look in one place."""

from __future__ import annotations

from typing import Any

from djqueue.conf import ConnectionSettings
from djqueue.drivers.base import Driver, WorkerIdentity
from djqueue.drivers.database import DatabaseDriver


class Faces:
    """A driver with its session and its inspector: has what any of them has."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.inspector = driver.inspector()
        self.session = driver.session()

    def join(self, worker: WorkerIdentity) -> None:
        """From now on the session is that of `worker`."""
        self.session = self.driver.session(worker)
        self.session.join()

    @property
    def patience(self) -> float | None:
        return self.driver.patience

    @patience.setter
    def patience(self, seconds: float | None) -> None:
        self.driver.patience = seconds

    def __getattr__(self, name: str) -> Any:
        for face in (self.session, self.inspector):
            if hasattr(face, name):
                return getattr(face, name)
        return getattr(self.driver, name)


def database() -> Faces:
    """The jobs of the default database."""
    return Faces(DatabaseDriver(ConnectionSettings("database", "database")))
