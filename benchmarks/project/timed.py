"""The database driver with a clock on each reserve."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import sink
from djqueue.drivers.base import Exchange, Settlement, WorkerIdentity
from djqueue.drivers.database import DatabaseDriver
from djqueue.drivers.database.session import DatabaseSession


class TimedDriver(DatabaseDriver):
    """The database driver with such sessions."""

    def session(self, worker: WorkerIdentity | None = None) -> DatabaseSession:
        return TimedSession(self._calls, self.settings, worker)


class TimedSession(DatabaseSession):
    """Notes how long each exchange took that brought a full window."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._seconds: list[float] = []

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        began = perf_counter()
        answer = super().exchange(settlements, queues, limit)
        if len(answer.reservations) >= 50:
            self._seconds.append(perf_counter() - began)
        return answer

    def leave(self) -> None:
        super().leave()
        place = Path(os.environ[sink.VARIABLE]).with_suffix(".seconds")
        place.write_text(json.dumps(self._seconds))
