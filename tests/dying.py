"""A Redis driver whose worker is killed between what follows from an end and the end itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from djqueue.drivers.base import Settlement, WorkerIdentity
from djqueue.drivers.redis.driver import RedisDriver
from djqueue.drivers.redis.session import RedisSession

FILE = "DJQUEUE_TEST_DIES_AT"
"""The variable with the name of a file: while it exists, the next settlement kills its process."""


class DyingDriver(RedisDriver):
    """Settles what something follows from, when that is stored; or dies before."""

    def session(self, worker: WorkerIdentity | None = None) -> RedisSession:
        """Return a session that may die."""
        session = super().session(worker)
        session.__class__ = _DyingSession
        return session


class _DyingSession(RedisSession):
    def settle(self, settlements: Sequence[Settlement]) -> set[str]:
        file = Path(os.environ.get(FILE, ""))
        if settlements and file.is_file():
            file.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().settle(settlements)
