"""What a unit runs, and where."""

from __future__ import annotations

import math
import shlex
from typing import NamedTuple

__all__ = ["Deployment"]

TO_END = 10
"""Seconds that a worker has to end beyond its grace, before it is killed."""
PARENT = 200
"""MB for the parent and its warden, beside the children."""


class Deployment(NamedTuple):
    """What is to run, and where."""

    name: str
    directory: str
    python: str
    settings: str
    """The module of the settings."""
    user: str
    connection: str
    queues: str
    workers: int
    """Children of each worker."""
    processes: int
    """Workers."""
    memory: int
    """MB of a child."""
    grace: int
    lease: float

    @property
    def arguments(self) -> list[str]:
        """Return what follows ``manage.py``."""
        words = ["queue_work", self.connection, "--queue", self.queues]
        words += ["--workers", str(self.workers), "--memory", str(self.memory)]
        return [*words, "--grace", str(self.grace)]

    @property
    def stop_after(self) -> int:
        """Return the seconds after which a supervisor may kill a worker that does not stop."""
        return self.grace + TO_END

    @property
    def watchdog(self) -> int:
        """Return the seconds without a sign of life after which systemd may kill a worker: more
        than one call to a store may take, which is an eighth of the lease.
        """
        return max(60, math.ceil(self.lease / 2))

    @property
    def memory_of_all(self) -> int:
        """Return the MB of one worker with its children."""
        return self.workers * self.memory + PARENT

    def command(self, *arguments: str, percent: str = "%") -> str:
        """Return a command line of ``manage.py``; `percent` is how the unit writes a percent."""
        words = [self.python, "manage.py", *(arguments or self.arguments)]
        return shlex.join(words).replace("%", percent)
