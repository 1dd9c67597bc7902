"""What a worker was started with."""

from __future__ import annotations

import enum
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from djqueue.runner.rules import DEFAULT_TIMEOUT, Rules


@dataclass(frozen=True)
class WorkerOptions:
    """Durations are in seconds, memory in megabytes; 0 means no limit."""

    connection: str
    queues: tuple[str, ...]
    once: bool = False
    stop_when_empty: bool = False
    sleep: float = 3.0
    tries: int = 1
    timeout: float = DEFAULT_TIMEOUT
    backoff: tuple[float, ...] = ()
    max_jobs: int = 0
    max_time: float = 0.0
    memory: int = 0
    memory_kill: int = 0
    rest: float = 0.0
    grace: float = 30.0
    workers: int = 1
    """Children; 0 runs the jobs in this process."""
    name: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    heartbeat: str = ""
    """The path of a file whose time says that the worker's loop turns."""
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where an option's value comes from, for the banner."""

    def rules(self, unknown_grace: float) -> Rules:
        """The limits for jobs that set none themselves."""
        return Rules(self.tries, self.timeout, self.backoff, unknown_grace)

    @property
    def stops_when_empty(self) -> bool:
        """Whether the worker stops when no job waits."""
        return self.stop_when_empty or self.once

    @property
    def kill_grace(self) -> float:
        """Seconds that a job may go on after its timeout before it is killed."""
        return min(self.grace, 5.0)


class StopReason(enum.Enum):
    """Why a worker ended."""

    SIGNAL = "a signal"
    ONCE = "--once"
    EMPTY = "the queue is empty"
    MAX_JOBS = "--max-jobs"
    MAX_TIME = "--max-time"
    MEMORY = "--memory"
    RESTART = "queue_restart"

    @property
    def exit_code(self) -> int:
        """The exit code of a worker that stops for this reason; 12 asks a supervisor for a new
        process, as in Laravel.
        """
        return 12 if self is StopReason.MEMORY else 0
