"""A debounced job, in an app that only workers under test have: where code has such jobs, workers
look into the outbox for them.
"""

from __future__ import annotations

from djqueue import job
from tests.ledger import write


@job(name="late.save", debounce=0.2)
def save(number: int) -> None:
    """Leave a line."""
    write("saved", number)
