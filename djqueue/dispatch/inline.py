"""Running a job at once, in this process: the ``sync`` driver and ``dispatch_sync()``.

The payload makes the same round trip as on any other connection, so that what works here works
on a worker. The job's error reaches the caller; nothing is retried and no failed row is stored.
"""

from __future__ import annotations

from typing import Any

from djqueue.drivers.base import OutgoingJob, Reservation
from djqueue.finish.announce import announce
from djqueue.finish.notices import Chore, notices_of
from djqueue.runner.decision import Action
from djqueue.runner.outcome import End
from djqueue.runner.rules import Rules
from djqueue.runner.runner import Runner


def run_here(job: OutgoingJob, connection: str) -> Any:
    """Run `job` now. Returns what ``handle()`` returned; raises what it raised."""
    runner = Runner(connection, Rules(unknown_grace=0, timeout=0))
    runner.teller.logs = False
    reservation = Reservation(job.id, job.queue, job.name, job.payload, 1, 0, "", None)
    attempt = runner.attempt(reservation)
    outcome = runner.run(attempt)
    for notice in notices_of([End(reservation, outcome)]):  # there is no store to tell before
        if not isinstance(notice, Chore):
            announce(notice, runner.teller, connection, attempt.error)
    if outcome.decision.action is not Action.DONE and attempt.error is not None:
        raise attempt.error
    return attempt.value  # also after release(): there is no queue to go back to
