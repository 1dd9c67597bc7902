"""What `fake_queue` knows of each dispatch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from djqueue.dispatch.dispatched import DispatchedJob
from djqueue.errors import ResultNotStored
from djqueue.results.asking import JobStatus

if TYPE_CHECKING:
    from djqueue.dispatch.outgoing import Sendable
    from djqueue.drivers.base import OutgoingJob
    from djqueue.jobs.job import Job

__all__ = ["Recorded", "RecordedJob"]


Results = Mapping[type, Any]
"""What the jobs of a class return."""


class Recorded(NamedTuple):
    """A dispatch that was recorded: the job as it was dispatched, and where it would have gone."""

    job: Job
    connection: str
    outgoing: OutgoingJob

    @classmethod
    def of(cls, sendable: Sendable) -> Recorded:
        """What a recorder was given."""
        return cls(sendable.instance, sendable.plan.connection, sendable.outgoing)

    @property
    def id(self) -> str:
        """The dispatch's id."""
        return self.outgoing.id

    @property
    def queue(self) -> str:
        """The queue that the job was for."""
        return self.outgoing.queue

    @property
    def delay(self) -> float:
        """Seconds after the dispatch before the job was to run."""
        return self.outgoing.delay

    def __str__(self) -> str:
        """``SendReceipt(order=<shop.Order 3>) on database:mail, 60 s later``."""
        later = f", {self.delay:g} s later" if self.delay else ""
        return f"{self.job!r} on {self.connection}:{self.queue}{later}"


class RecordedJob(DispatchedJob[Any]):
    """The answer to a dispatch that was recorded. No store is asked about it."""

    __slots__ = ("_pending", "_recorded", "_results")

    def __init__(
        self,
        recorded: Recorded,
        pending: dict[str, Recorded],
        results: Results = MappingProxyType({}),
    ) -> None:
        super().__init__(recorded.id, recorded.connection, recorded.queue)
        self._recorded = recorded
        self._pending = pending
        self._results = results

    @property
    def status(self) -> JobStatus:
        """``done`` where the fake has a result for it; else ``waiting`` or ``delayed`` until the
        fake has run it, then ``unknown``.
        """
        if type(self._recorded.job) in self._results:
            return JobStatus.DONE
        if self.id not in self._pending:
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
        if job not in self._results:
            raise ResultNotStored(
                f"The fake has no result for {job.__name__}. Give it one: "
                f"fake.result({job.__name__}, value)."
            )
        value = self._results[job]
        if isinstance(value, BaseException):
            raise value
        return value

    async def aresult(self, timeout: float | None = None) -> Any:
        """Do as `result`."""
        return self.result(timeout)

    def cancel(self) -> bool:
        """Keep the fake from running it. It stays recorded as dispatched."""
        return self._pending.pop(self.id, None) is not None
