"""Drivers with a bug, or with a store that is away, from the moment when a test says so."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from django.db import OperationalError

from djqueue.conf import ConnectionSettings
from djqueue.databases.bound import Bound
from djqueue.drivers.base import Answer, Promotion, Settlement, WorkerIdentity
from djqueue.drivers.database import DatabaseDriver
from djqueue.drivers.database.calls import Calls
from djqueue.drivers.database.session import DatabaseSession
from djqueue.errors import QueueUnavailable
from tests.ledger import VARIABLE


def _bug() -> Path:
    return Path(os.environ[VARIABLE] + ".bug")


def show(how: str) -> None:
    """From now on every worker has it."""
    _bug().write_text(how)


def calls() -> list[tuple[float, str]]:
    """What an `AwayDriver` was asked since then, and when."""
    file = Path(os.environ[VARIABLE] + ".calls")
    lines = file.read_text().splitlines() if file.exists() else []
    return [(float(at), name) for at, name in map(str.split, lines)]


class BuggySession(DatabaseSession):
    """Raises what no driver should; with "away", and cannot reach its store afterwards."""

    def promote(self, queues: Sequence[str]) -> Promotion:
        if _bug().exists():
            raise ZeroDivisionError("a bug")
        return super().promote(queues)

    def settle(self, settlements: Sequence[Settlement]) -> set[str]:
        if _bug().exists() and _bug().read_text() == "away":
            raise QueueUnavailable("It is away.")
        return super().settle(settlements)


class BuggyDriver(DatabaseDriver):
    def session(self, worker: WorkerIdentity | None = None) -> DatabaseSession:
        return BuggySession(self._calls, self.settings, worker)


class AwaySession(DatabaseSession):
    """Has its exchanges waited for, so that each is a call."""

    def begin(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Answer | None:
        return None  # it is asked at once


class AwayCalls(Calls):
    """Notes each call of a worker once its store is away, and answers none."""

    def begun(self) -> Bound | None:
        if _bug().exists():
            name = sys._getframe(3).f_code.co_name
            with Path(os.environ[VARIABLE] + ".calls").open("a") as file:
                file.write(f"{time.monotonic()} {name}\n")
            raise OperationalError("It is away.")
        return super().begun()


class AwayDriver(DatabaseDriver):
    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__(settings)
        self._calls = AwayCalls(settings.database, settings.name, self.lease / 8)

    def session(self, worker: WorkerIdentity | None = None) -> DatabaseSession:
        return AwaySession(self._calls, self.settings, worker)
