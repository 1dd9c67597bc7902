"""What a dialect hands out, with the errors of the driver contract."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

from djqueue.drivers.base import Answer, Exchange, Wakeup
from djqueue.errors import QueueUnavailable


class ReportedWakeup(Wakeup):
    """`wakeup`, inside `reported`, which turns errors of a database into `QueueUnavailable`."""

    def __init__(
        self, wakeup: Wakeup, reported: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._wakeup = wakeup
        self._reported = reported

    @property
    def look_again(self) -> float:  # type: ignore[override]
        return self._wakeup.look_again

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


class ReportedAnswer(Answer):
    """`answer`, likewise."""

    def __init__(
        self, answer: Answer, reported: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._answer = answer
        self._reported = reported

    def fileno(self) -> int:
        return self._answer.fileno()

    def is_there(self) -> bool:
        with self._reported():
            return self._answer.is_there()

    def take(self) -> Exchange:
        with self._reported():
            return self._answer.take()
