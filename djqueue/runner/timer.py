"""The soft timeout: an exception inside the job at its timeout.

It is courtesy, not safety. A job in a C call never sees it, and one that catches everything may
swallow it; the worker's parent process ends such a job by a signal that cannot be caught.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

from djqueue.errors import JobTimeout

AGAIN = 1.0
"""Seconds after which the exception is raised once more in a job that swallowed it."""
_EARLY = 0.001
"""Seconds by which the alarm's clock may be ahead of ours."""


class Timer:
    """No timeouts: where jobs run in a process that is not theirs."""

    owns_process = False
    """Whether the process only runs jobs, so that Ctrl-C is not pressed in it."""
    rang = False
    """Whether time was up since the last start."""
    _ends_at: float | None = None

    def start(self, seconds: float) -> None:
        """Raise `JobTimeout` here after `seconds`; 0 means never."""
        self._ends_at = time.monotonic() + seconds if seconds else None

    def stop(self) -> None:
        """Raise nothing from now on. May be called twice."""

    def left(self) -> float | None:
        """Return the seconds until the timeout; None if there is no limit."""
        return None if self._ends_at is None else max(0.0, self._ends_at - time.monotonic())


class AlarmTimer(Timer):
    """SIGALRM, in the main thread of a process that belongs to the job."""

    owns_process = True

    def __init__(self) -> None:
        self._is_set = False
        signal.signal(signal.SIGALRM, self._ring)

    def start(self, seconds: float) -> None:
        """Ring after `seconds`, and then again and again."""
        self.rang = False
        if seconds:
            self._ends_at = time.monotonic() + seconds
            self._is_set = True
            signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
        elif self._is_set:
            self.close()

    def stop(self) -> None:
        """Ring no more. The alarm stays set, since the next job sets it again: to unset it would
        cost each job a system call.
        """
        self._ends_at = None

    def close(self) -> None:
        """Unset the alarm: its signal ends a process that no longer handles it."""
        self._ends_at = None
        self._is_set = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self._ends_at is None:
            self.close()
        elif time.monotonic() >= self._ends_at - _EARLY:  # else it was set for an earlier job
            self.rang = True
            raise JobTimeout
