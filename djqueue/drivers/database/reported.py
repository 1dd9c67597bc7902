"""A wake-up whose errors are those of the driver contract."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

from djqueue.drivers.base import Wakeup
from djqueue.errors import QueueUnavailable


class ReportedWakeup(Wakeup):
    """`wakeup`, inside `reported`, which turns errors of a database into `QueueUnavailable`."""

    def __init__(
        self, wakeup: Wakeup, reported: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._wakeup = wakeup
        self._reported = reported

    def fileno(self) -> int | None:
        return self._wakeup.fileno()

    def arrived(self) -> bool:
        with self._reported():
            return self._wakeup.arrived()

    def set_idle(self, idle: bool) -> None:
        with self._reported():
            self._wakeup.set_idle(idle)

    def close(self) -> None:
        """What is broken needs no goodbye."""
        with suppress(QueueUnavailable), self._reported():
            self._wakeup.close()
