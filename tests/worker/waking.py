"""What is true of the waking of workers on every store that can call."""

from __future__ import annotations

import time

from tests.app import jobs
from tests.ledger import Ledger
from tests.support import start_worker, wait_until


def free_child_is_woken_beside_a_busy_one(ledger: Ledger, sleep: float = 30) -> None:
    """Twice: a call that was passed on or used up must be followed by another."""
    with start_worker("--workers", 2, "--sleep", sleep) as worker:
        jobs.record.dispatch(0, 60.0)
        wait_until(lambda: ledger.lines("begin"))
        for number in (1, 2):
            time.sleep(1.5)
            jobs.record.dispatch(number)
            wait_until(
                lambda n=number: len(ledger.lines("end")) == n, timeout=5, what=worker.output
            )
        worker.kill_everything()
