"""The soft timeout: an exception inside the job when its time is over.

It is courtesy, not safety. A job in a C call never sees it, and one that catches everything may
swallow it; the worker's parent process ends such a job by a signal that cannot be caught.
"""

from __future__ import annotations

import signal
from types import FrameType

from djqueue.errors import JobTimeout

AGAIN = 1.0
"""Seconds after which the exception is raised once more in a job that swallowed it."""


class Timer:
    """No timeouts: where jobs run in a process that is not theirs."""

    rang = False
    """Whether time was up since the last start."""

    def start(self, seconds: float) -> None:
        """Raise `JobTimeout` here after `seconds`."""

    def stop(self) -> None:
        """From now on nothing is raised. May be called twice."""


class AlarmTimer(Timer):
    """SIGALRM, in the main thread of a process that belongs to the job."""

    def __init__(self) -> None:
        self._armed = False
        signal.signal(signal.SIGALRM, self._ring)

    def start(self, seconds: float) -> None:
        """Ring after `seconds`, and then again and again."""
        self.rang = False
        self._armed = True
        signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)

    def stop(self) -> None:
        """Ring no more."""
        self._armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self._armed:
            self.rang = True
            raise JobTimeout
