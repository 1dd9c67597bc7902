"""Unique jobs for workers under test."""

from __future__ import annotations

import time

from djqueue import job
from tests.ledger import write


@job(name="app.once", unique=True, unique_for=3600, tries=20, max_interruptions=50)
def once(number: int, seconds: float = 0.0) -> None:
    """Run for so long, and leave a line at the beginning and one at the end."""
    write("begin", number)
    if seconds:
        time.sleep(seconds)
    write("end", number)
