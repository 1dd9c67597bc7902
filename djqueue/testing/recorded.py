"""What `fake_queue` knows of each dispatch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from djqueue.dispatch.dispatched import DispatchedJob
from djqueue.results.asking import JobStatus

if TYPE_CHECKING:
    from djqueue.dispatch.outgoing import Sendable
    from djqueue.drivers.base import OutgoingJob
    from djqueue.jobs.job import Job

__all__ = ["Recorded", "RecordedJob"]


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

    __slots__ = ("_pending", "_recorded")

    def __init__(self, recorded: Recorded, pending: dict[str, Recorded]) -> None:
        super().__init__(recorded.id, recorded.connection, recorded.queue)
        self._recorded = recorded
        self._pending = pending

    @property
    def status(self) -> JobStatus:
        """``waiting`` or ``delayed`` until the fake has run it, then ``unknown``."""
        if self.id not in self._pending:
            return JobStatus.UNKNOWN
        return JobStatus.DELAYED if self._recorded.delay else JobStatus.WAITING

    def cancel(self) -> bool:
        """Keep the fake from running it. It stays recorded as dispatched."""
        return self._pending.pop(self.id, None) is not None
