"""A line is written before the store has what it tells: a run that is repeated is explained."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from djqueue.drivers.base import Exchange, Settlement, Verdict, WorkerIdentity
from djqueue.drivers.database import DatabaseDriver
from djqueue.drivers.database.session import DatabaseSession
from tests.app import jobs
from tests.support import start_worker


class DyingSession(DatabaseSession):
    """Dies when it has put something back."""

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        done = super().exchange(settlements, queues, limit)
        if any(settlement.verdict is not Verdict.REMOVE for settlement in settlements):
            os.kill(os.getpid(), signal.SIGKILL)
        return done


class Dying(DatabaseDriver):
    def session(self, worker: WorkerIdentity | None = None) -> DatabaseSession:
        return DyingSession(self._calls, self.settings, worker)


def test_a_worker_that_dies_has_told_what_it_stored(settings, ledger):
    driver = f"{__name__}.{Dying.__name__}"
    settings.DJQUEUE = {"CONNECTIONS": {"database": {"DRIVER": driver}}}
    id = jobs.boom_thrice.dispatch().id
    with start_worker() as worker:
        assert worker.wait() == -signal.SIGKILL
        line = next(line for line in worker.output.splitlines() if "RELEASED" in line)
    assert id in line
