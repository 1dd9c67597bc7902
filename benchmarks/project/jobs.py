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


class Rest(Job):
    """The same for five milliseconds."""

    def handle(self) -> None:
        record()
        time.sleep(0.005)


class Step(Job):
    """A step of a chain, with a record at its beginning and one at its end."""

    number: int

    def handle(self) -> None:
        record(2 * self.number)
        record(2 * self.number + 1)


class Kept(Job, store_result=True):
    """A job whose result is kept."""

    number: int = 0

    def handle(self) -> int:
        record(self.number)
        return self.number


class Failing(Job, tries=1):
    """A job that fails."""

    number: int = 0

    def handle(self) -> None:
        record(self.number)
        raise ValueError("broken")
