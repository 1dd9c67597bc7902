"""What `fake_queue` has recorded and not run yet, and which of these jobs have keys."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from djqueue.dispatch.connections import queues
from djqueue.dispatch.dispatched import DispatchedJob
from djqueue.dispatch.outgoing import Sendable
from djqueue.errors import ResultNotStored
from djqueue.jobs.definition.spec import spec_of
from djqueue.results.asking import JobStatus
from djqueue.testing.recorded import Recorded

__all__ = ["Pending", "RecordedJob"]


class _Held(NamedTuple):
    """A unique key that a job has."""

    by: Recorded
    until: float | None
    """When another job may have it; None: when that one has ended."""


class Pending:
    """Recorded jobs that have not run. Unique and debounced ones have their keys, as on a store; on
    connections that keep no jobs there are none.
    """

    def __init__(self) -> None:
        self.results: dict[type, Any] = {}
        """What ``result()`` is to give, by the class of the job."""
        self._jobs: dict[str, Recorded] = {}
        self._unique: dict[str, _Held] = {}
        self._debounced: dict[str, Recorded] = {}

    def __contains__(self, recorded: Recorded) -> bool:
        return recorded.id in self._jobs

    def holder(self, job: Sendable) -> Recorded | None:
        """Return the job that has the unique key of `job`, if another one has."""
        key = job.outgoing.unique
        held = self._unique.get(key.key) if key else None
        if held is None or (held.until is not None and held.until <= time.time()):
            return None
        return held.by

    def replaced(self, job: Sendable) -> Recorded | None:
        """Return the job that waits with the debounced key of `job`, if one does."""
        return self._debounced.get(job.wish.key) if job.wish else None

    def add(self, recorded: Recorded, job: Sendable | None = None) -> None:
        """Add a recorded job; with its key, where `job` has one."""
        self._jobs[recorded.id] = recorded
        if job is None:
            return
        key = job.outgoing.unique
        if job.wish is not None:
            self._debounced[job.wish.key] = recorded
        elif key and queues[job.plan.connection].driver.capabilities.keeps_jobs:
            until = None if key.seconds is None else time.time() + key.seconds
            self._unique[key.key] = _Held(recorded, until)

    def take(self) -> Recorded | None:
        """Take the next job, which is to run; None where there is none. Call `ended` after it."""
        if not self._jobs:
            return None
        recorded = self._jobs.pop(next(iter(self._jobs)))
        self._begun(recorded)
        return recorded

    def cancel(self, recorded: Recorded) -> bool:
        """Drop a job. Return whether it was there."""
        if self._jobs.pop(recorded.id, None) is None:
            return False
        self._begun(recorded)
        self.ended(recorded)
        return True

    def _begun(self, recorded: Recorded) -> None:
        others = self._debounced.items()
        self._debounced = {key: job for key, job in others if job.id != recorded.id}
        if spec_of(recorded.job).options.unique_until_start:
            self.ended(recorded)

    def ended(self, recorded: Recorded) -> None:
        """Free the unique key of a job."""
        others = self._unique.items()
        self._unique = {key: held for key, held in others if held.by.id != recorded.id}


class RecordedJob(DispatchedJob[Any]):
    """The answer to a dispatch that was recorded. No store is asked about it."""

    __slots__ = ("_pending", "_recorded")

    def __init__(
        self, id: str, recorded: Recorded, pending: Pending, existing: str | None = None
    ) -> None:
        """`recorded`: the job that this is about, which is another one where it is `existing`."""
        super().__init__(id, recorded.connection, recorded.queue, existing=existing)
        self._recorded = recorded
        self._pending = pending

    @property
    def status(self) -> JobStatus:
        """``done`` where the fake has a result for it; else ``waiting`` or ``delayed`` until the
        fake has run it, then ``unknown``.
        """
        if type(self._recorded.job) in self._pending.results:
            return JobStatus.DONE
        if self._recorded not in self._pending:
            return JobStatus.UNKNOWN
        return JobStatus.DELAYED if self._recorded.delay else JobStatus.WAITING

    @property
    def progress(self) -> None:
        """None: what is recorded makes no progress."""
        return

    def result(self, timeout: float | None = None) -> Any:
        """Return what `FakeQueue.result` was given for the class; an exception is raised. Raises
        `ResultNotStored` where it was given nothing.
        """
        job = type(self._recorded.job)
        if job not in self._pending.results:
            raise ResultNotStored(
                f"The fake has no result for {job.__name__}. Give it one: "
                f"fake.result({job.__name__}, value)."
            )
        value = self._pending.results[job]
        if isinstance(value, BaseException):
            raise value
        return value

    async def aresult(self, timeout: float | None = None) -> Any:
        """Do as `result`."""
        return self.result(timeout)

    def cancel(self) -> bool:
        """Keep the fake from running it. It stays recorded as dispatched."""
        return self._pending.cancel(self._recorded)
