"""Jobs whose results are kept, for workers under test."""

from __future__ import annotations

import os
import time
from pathlib import Path

from djqueue import current_job, job
from tests.ledger import write


@job(name="app.counts_up", store_result=True, timeout=60)
def counts_up(until: str, to: int) -> int:
    """Say how far it has come, until the file `until` is there."""
    for number in range(to):
        current_job().progress(number + 1, to, f"step {number + 1}")
    write("counted")
    while not Path(until).exists():
        time.sleep(0.01)
    return to


@job(name="app.reports", store_result=True, timeout=60)
def reports(times: int, seconds: float) -> int:
    """Say how far it has come so many times within these seconds."""
    for number in range(times):
        current_job().progress(number + 1, times, f"step {number + 1}")
        time.sleep(seconds / times)
    return times


@job(name="app.dies", store_result=True)
def dies() -> None:
    """End its own process."""
    current_job().progress(7, 9, "dying")
    os._exit(3)


@job(name="app.kept", store_result=True)
def kept(value: int) -> int:
    """Return it."""
    return value


@job(name="app.kept_atomic", store_result=True, atomic=True)
def kept_atomic(value: int) -> int:
    """Return it, in a transaction."""
    current_job().progress(value, value)
    return value


@job(name="app.never_kept", store_result=True)
def never_kept() -> None:
    """Fail."""
    raise ValueError("no")


@job(name="app.sturdy_kept", store_result=True, tries=20, max_interruptions=50)
def sturdy_kept(number: int, seconds: float = 0.0) -> int:
    """Return its number, for runs in which processes are killed."""
    write("begin", number)
    current_job().progress(number, number + 1)
    if seconds:
        time.sleep(seconds)
    write("end", number)
    return number
