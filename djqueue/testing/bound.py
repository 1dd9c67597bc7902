"""Chains and batches that `fake_queue` has recorded: comparing them, and running chains without a
store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence, Sized
from difflib import SequenceMatcher
from typing import NamedTuple, TypeAlias

from djqueue.composition.follower import previous_of
from djqueue.composition.running import Bound
from djqueue.dispatch.inline import run_attempt, run_here
from djqueue.drivers.base import OutgoingJob
from djqueue.jobs.function import JobFunction
from djqueue.payload.ids import new_id
from djqueue.payload.links import Links, with_links
from djqueue.testing.recorded import Recorded

__all__ = ["RecordedBatch", "RecordedSteps", "first_jobs", "recorded_in", "shown"]

MOST_SHOWN = 3
Step: TypeAlias = "Recorded | RecordedSteps | RecordedBatch"
"""A step of a chain, or a member of a batch."""


class RecordedSteps(NamedTuple):
    """A chain: its steps in order, and the job that runs if one fails."""

    steps: Sequence[Recorded | RecordedBatch]
    on_failure: Recorded | None

    def fits(self, wanted: Sequence[object]) -> bool:
        """Whether its steps are those wanted: jobs, classes, or functions decorated with @job; for
        a batch a list of such.
        """
        return _fit(self.steps, wanted)

    def run(self) -> int:
        """Run its steps in order; how many. The error of one reaches the caller."""
        waiting = deque(map(_to_run, self.steps))
        links, count = Links(self.id, 1), 0
        while waiting:
            connection, job = waiting.popleft()
            if isinstance(job, RecordedBatch):
                count += job.run()
                links = Links(links.chain, links.step + 1)
                continue
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

    @property
    def id(self) -> str:
        """The id of its first step; of a batch that of its first member."""
        return next((each.id for each in recorded_in(self.steps)), new_id())

    def __str__(self) -> str:
        return " → ".join(map(_shown, self.steps))


def recorded_in(steps: Sequence[Step]) -> Iterator[Recorded]:
    """Return the jobs among steps or members."""
    for each in steps:
        if isinstance(each, Recorded):
            yield each
        else:
            yield from recorded_in(each.members if isinstance(each, RecordedBatch) else each.steps)


def first_jobs(steps: Sequence[Step]) -> list[Recorded]:
    """Return what steps or members begin with."""
    first = ([each] if not isinstance(each, RecordedSteps) else each.steps[:1] for each in steps)
    return list(recorded_in([each for some in first for each in some]))


def _to_run(step: Recorded | RecordedBatch) -> tuple[str, OutgoingJob | RecordedBatch]:
    return ("", step) if isinstance(step, RecordedBatch) else (step.connection, step.outgoing)


def _shown(step: Recorded | RecordedBatch) -> str:
    return f"batch {step}" if isinstance(step, RecordedBatch) else repr(step.job)


def _fit(steps: Sequence[Step], wanted: Sequence[object]) -> bool:
    return len(wanted) == len(steps) and all(map(_fits, steps, wanted))


def _fits(step: Step, wanted: object) -> bool:
    if isinstance(step, Recorded):
        return _is(step.job, wanted)
    inside = step.members if isinstance(step, RecordedBatch) else step.steps
    return isinstance(wanted, (list, tuple)) and _fit(inside, wanted)


def _length(waiting: Sized) -> Callable[[str], int]:
    return lambda chain: len(waiting)


def _is(job: object, wanted: object) -> bool:
    if isinstance(wanted, JobFunction):
        return isinstance(job, wanted.job_class)
    if isinstance(wanted, type):
        return isinstance(job, wanted)
    return type(job) is type(wanted) and repr(job) == repr(wanted)


class RecordedBatch(NamedTuple):
    """A batch: its name and its members. Of chains those of a step have all steps, others the
    first.
    """

    name: str
    members: Sequence[Recorded | RecordedSteps]

    def run(self) -> int:
        """Run the members of a step of a chain; how many jobs ran."""
        count = 0
        for each in self.members:
            if isinstance(each, RecordedSteps):
                count += each.run()
            else:
                run_here(each.outgoing, each.connection)
                count += 1
        return count

    def __str__(self) -> str:
        size = len(self.members)
        first = list(recorded_in(self.members))[:MOST_SHOWN]
        shown = ", ".join(repr(each.job) for each in first)
        more = f" and {size - MOST_SHOWN} more" if size > MOST_SHOWN else ""
        return f'"{self.name}" of {size}: {shown}{more}'


def shown(what: str, recorded: Sequence[RecordedSteps | RecordedBatch], wanted: str = "") -> str:
    """Return lines about the chains or the batches that were dispatched, those first that are most
    like what was `wanted`.
    """
    if not recorded:
        return f"No {what} was dispatched."
    lines = list(map(str, recorded))
    if wanted:
        lines.sort(key=lambda line: -SequenceMatcher(None, wanted, line).ratio())
    title = "Dispatched, nearest first:" if wanted and len(lines) > 1 else "Dispatched:"
    return "\n".join([title, *(f"  {each}" for each in lines)])
