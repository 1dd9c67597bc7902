"""How far a worker has come, and whether it goes on."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from djqueue.worker.options import StopReason
from djqueue.worker.schedule import NEVER

PATIENCE_AT_END = 2.0
"""Seconds that a call to the store may wait once the worker stops."""
LAST_WORDS = 1.0
"""Seconds after the grace in which the store learns what was stopped; then others find it."""


@dataclass
class Progress:
    """Moments are those of `clock.now`."""

    started: float
    done: int = 0
    """Attempts that ended."""
    reason: StopReason | None = None
    """Why the worker stops; None while it goes on."""
    end_at: float | None = None
    """When what still runs is stopped, once there is a reason."""
    paused: bool = False
    """By SIGUSR2."""
    rest_until: float = 0.0
    """No job is begun before, because of ``--rest``."""

    @property
    def accepting(self) -> bool:
        """Whether new jobs are wanted."""
        return self.reason is None and not self.paused

    def pause_by(self, number: signal.Signals) -> str:
        """Begin or end a pause if the signal asks for it. Return what to say about it, if any."""
        if number is signal.SIGUSR2:
            self.paused = True
            return "Paused by SIGUSR2; SIGCONT resumes."
        if number is signal.SIGCONT and self.paused:
            self.paused = False
            return "Resumed by SIGCONT."
        return ""

    def may_begin(self, now: float) -> bool:
        """Whether a job may be begun now."""
        return self.accepting and now >= self.rest_until

    def next_end(self, now: float) -> float:
        """When a stopping worker has to check whether it ends: after the grace, and at the end of
        its last notices.
        """
        if self.end_at is None:
            return NEVER
        return self.end_at if now < self.end_at else self.end_at + LAST_WORDS
