"""A store that is no database: what a driver is pushed, kept in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from djqueue.drivers.base import Capabilities, OutgoingJob, QueueCounts, State, StoredJob
from djqueue.drivers.local import EmptyInspector, NullDriver
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemoryDriver(NullDriver):
    """Keeps jobs by connection. A queue called ``down`` cannot be reached."""

    capabilities = Capabilities(max_delay=3600, max_payload=10_000)
    stores: ClassVar[dict[str, list[OutgoingJob]]] = {}
    pushes: ClassVar[list[int]] = []
    """How many jobs each push held."""

    @property
    def _jobs(self) -> list[OutgoingJob]:
        return self.stores.setdefault(self.settings.name, [])

    def inspector(self) -> MemoryInspector:
        inspector = MemoryInspector(self.settings, self.capabilities)
        inspector.jobs = self._jobs
        return inspector

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        if any(job.queue == "down" for job in jobs):
            raise QueueUnavailable("The store is down. Start it.")
        self.pushes.append(len(jobs))
        self._jobs.extend(jobs)


class MemoryInspector(EmptyInspector):
    """Looks at the jobs of one connection."""

    jobs: list[OutgoingJob]

    def counts(self, queue: str) -> QueueCounts:
        delayed = [job.delay > 0 for job in self.jobs if job.queue == queue]
        return QueueCounts(delayed.count(False), delayed.count(True), None)

    def find(self, ids: Sequence[str]) -> list[StoredJob]:
        if self.settings.queue == "down":
            raise QueueUnavailable("The store is down. Start it.")
        return [_stored(job) for job in self.jobs if job.id in ids]

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool = False) -> int:
        kept = [job for job in self.jobs if job.queue != queue or job.id not in ids]
        removed = len(self.jobs) - len(kept)
        self.jobs[:] = kept
        return removed


def _stored(job: OutgoingJob) -> StoredJob:
    state = State.DELAYED if job.delay else State.WAITING
    nothing = (None,) * 4
    return StoredJob(
        job.id, job.queue, job.name, job.payload, state, 0, 0, job.priority, *nothing, None
    )
