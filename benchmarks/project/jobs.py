from __future__ import annotations

import time

from benchmarks.sink import record
from djqueue import Job


class Noop(Job):
    """What every contestant runs."""

    number: int = 0

    def handle(self) -> None:
        record(self.number)


class Nap(Job):
    """Two milliseconds of waiting for somebody else."""

    def handle(self) -> None:
        record()
        time.sleep(0.002)
