"""What `fake_queue` knows of each dispatch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from djqueue.payload.parts import with_id

if TYPE_CHECKING:
    from djqueue.dispatch.outgoing import Sendable
    from djqueue.drivers.base import OutgoingJob
    from djqueue.jobs.job import Job

__all__ = ["Recorded"]


class Recorded(NamedTuple):
    """A dispatch that was recorded: the job as it was dispatched, and where it would have gone."""

    job: Job
    connection: str
    outgoing: OutgoingJob

    @classmethod
    def of(cls, sendable: Sendable, replaced: Recorded | None = None) -> Recorded:
        """What a recorder was given; a debounced job has the id of the one that it has
        `replaced`.
        """
        outgoing = sendable.outgoing
        if sendable.wish is not None:
            outgoing = outgoing._replace(delay=sendable.wish.seconds)
        if replaced is not None:
            payload = with_id(outgoing.payload, replaced.id)
            outgoing = outgoing._replace(id=replaced.id, payload=payload)
        return cls(sendable.instance, sendable.plan.connection, outgoing)

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
