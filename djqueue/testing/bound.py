"""Chains and batches that `fake_queue` has recorded: comparing them, and running chains without a
store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from djqueue.composition.follower import previous_of
from djqueue.composition.running import Bound
from djqueue.dispatch.inline import run_attempt, run_here
from djqueue.drivers.base import OutgoingJob
from djqueue.jobs.function import JobFunction
from djqueue.payload.links import Links, with_links
from djqueue.testing.recorded import Recorded

__all__ = ["RecordedBatch", "RecordedSteps", "shown"]

MOST_SHOWN = 3


class RecordedSteps(NamedTuple):
    """A chain: its steps in order, and the job that runs if one fails."""

    steps: Sequence[Recorded]
    on_failure: Recorded | None

    def fits(self, wanted: Sequence[object]) -> bool:
        """Whether its steps are those wanted: jobs, classes, or functions decorated with @job."""
        return len(wanted) == len(self.steps) and all(
            _is(step.job, each) for step, each in zip(self.steps, wanted, strict=True)
        )

    def run(self) -> int:
        """Run its steps in order; how many. The error of one reaches the caller."""
        waiting = deque((each.connection, each.outgoing) for each in self.steps)
        links, count = Links(self.steps[0].id, 1), 0
        while waiting:
            connection, job = waiting.popleft()
            job = job._replace(payload=with_links(job.payload, links))
            end, error = run_attempt(job, connection, Bound(count=_length(waiting)))
            count += 1
            if error is not None:
                if self.on_failure is not None:
                    run_here(self.on_failure.outgoing, self.on_failure.connection)
                raise error
            links = Links(links.chain, links.step + 1, previous_of(end))
            added = end.outcome.passed_on
            for connection, *each in reversed(added.get("prepended", ())):
                waiting.appendleft((connection, OutgoingJob(*each)))
            waiting.extend((c, OutgoingJob(*each)) for c, *each in added.get("appended", ()))
        return count

    def __str__(self) -> str:
        return " → ".join(repr(each.job) for each in self.steps)


def _length(waiting: deque[tuple[str, OutgoingJob]]) -> Callable[[str], int]:
    return lambda chain: len(waiting)


def _is(job: object, wanted: object) -> bool:
    if isinstance(wanted, JobFunction):
        return isinstance(job, wanted.job_class)
    if isinstance(wanted, type):
        return isinstance(job, wanted)
    return type(job) is type(wanted) and repr(job) == repr(wanted)


class RecordedBatch(NamedTuple):
    """A batch: its name and its members, of a chain the first step."""

    name: str
    members: Sequence[Recorded]

    def __str__(self) -> str:
        size = len(self.members)
        shown = ", ".join(repr(each.job) for each in self.members[:MOST_SHOWN])
        more = f" and {size - MOST_SHOWN} more" if size > MOST_SHOWN else ""
        return f'"{self.name}" of {size}: {shown}{more}'


def shown(what: str, recorded: Sequence[RecordedSteps | RecordedBatch]) -> str:
    """Return lines about the chains or the batches that were dispatched."""
    if not recorded:
        return f"No {what} was dispatched."
    return "\n".join(["Dispatched:", *(f"  {each}" for each in recorded)])
