"""The face of a driver for operators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from djqueue.drivers.types import (
    Capabilities,
    Census,
    Change,
    Feature,
    QueueCounts,
    State,
    StoredJob,
)
from djqueue.errors import QueueUnavailable, Unsupported

if TYPE_CHECKING:
    from djqueue.conf import ConnectionSettings
    from djqueue.drivers.types import Placement

__all__ = ["SEARCH_PAGE", "Inspector"]

SEARCH_PAGE = 500
"""Jobs that `Inspector.search` looks at in one go."""


class Inspector(ABC):
    """What operators ask of the store, and do to it. What a store cannot do raises `Unsupported`
    with the reason of `Capabilities.why_not`.
    """

    def __init__(self, settings: ConnectionSettings, capabilities: Capabilities) -> None:
        self.settings = settings
        self.capabilities = capabilities

    @abstractmethod
    def counts(self, queue: str) -> QueueCounts:
        """Return the numbers of jobs in the queue."""

    def queues(self) -> list[str]:
        """Return the names of the queues that hold something, sorted; else the configured one."""
        return [self.settings.queue]

    def census(self, known: Iterable[str], at_most: int | None = None) -> Mapping[str, Census]:
        """Return what each queue holds that is `known` or is among `queues`. With `at_most` a store
        that would have to count jobs one by one need not count further in any state.
        """
        every = sorted({*self.queues(), *known})
        return {queue: Census(self.counts(queue), self._stuck(queue)) for queue in every}

    def _stuck(self, queue: str, at_most: int = 1000) -> int:
        if self.capabilities.why_not("peek"):
            return 0
        return len(self.peek(queue, State.STUCK, at_most))

    def peek(
        self, queue: str, state: State, limit: int = 20, after: str | None = None
    ) -> list[StoredJob]:
        """Return jobs of `queue` in `state`, next to run first, behind the one called `after`."""
        raise self._unsupported("peek")

    def find(self, ids: Sequence[str]) -> list[StoredJob]:
        """Return the stored jobs among `ids`."""
        raise self._unsupported("find")

    def search(self, part: str, limit: int = 20) -> list[StoredJob]:
        """Return up to `limit` stored jobs whose id begins or ends with `part`: lower-case
        hexadecimal digits without hyphens. Looks at every job here; a store that can do better
        should.
        """
        found: list[StoredJob] = []
        for queue in self.queues():
            for state in State:
                after = None
                while len(found) < limit:
                    page = self.peek(queue, state, SEARCH_PAGE, after)
                    pairs = ((job, job.id.replace("-", "")) for job in page)
                    found += [job for job, x in pairs if x.startswith(part) or x.endswith(part)]
                    if len(page) < SEARCH_PAGE:
                        break
                    after = page[-1].id
        # A stuck job is among the reserved ones too where a store cannot tell them apart.
        return list({job.id: job for job in found}.values())[:limit]

    def heads(self, queue: str) -> list[StoredJob]:
        """Return the next job in each state, if a store cannot `peek` at more; else no job."""
        return []

    def change(self, change: Change, queue: str, seen: Mapping[str, str]) -> set[str]:
        """Apply `change` to those of the jobs that are in a state for it, and return their ids.
        `QueueUnavailable` is ambiguous if some may have been changed before.
        """
        changed: set[str] = set()
        found = self.find(list(seen))
        try:
            for job in found:
                name = job.key or job.id
                if seen[name] in ("", job.reservation) and self._change(change, queue, job):
                    changed.add(name)
        except QueueUnavailable as error:
            error.ambiguous |= bool(changed)
            raise
        return changed

    def _change(self, change: Change, queue: str, job: StoredJob) -> bool:
        """Do as `change` for one job, as far as `remove` and `release` can."""
        if change is Change.RELEASE:
            return self.release(queue, [job.id]) > 0
        if change is Change.RUN_NOW:
            raise Unsupported(
                f'Connection "{self.settings.name}" cannot run one delayed job before its time: '
                "its driver has no way to."
            )
        if change is Change.DELETE_RUNNING and job.state not in (State.RESERVED, State.STUCK):
            return False
        even_running = change is Change.DELETE_RUNNING
        return self.remove(queue, [job.id], even_running=even_running) > 0

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool = False) -> int:
        """Delete waiting, delayed and stuck jobs among `ids`. Return their number. With
        `even_running` delete the reserved ones too: their worker loses the reservation, and its
        outcome is ignored.
        """
        raise self._unsupported("remove")

    def cancel(self, id: str, *, unseen: bool) -> bool:
        """Record that a job must not run, and that the outcome of a worker that runs it is ignored.
        For stores that cannot look up one job. Return whether that was recorded: not for a job that
        has ended, and only with `unseen` for a job that no worker has begun yet.
        """
        raise self._unsupported("remove")

    def release(self, queue: str, ids: Sequence[str]) -> int:
        """Put stuck jobs among `ids` back to waiting, with one more interruption. Return their
        number.
        """
        raise self._unsupported("remove")

    def place(self, queue: str, ids: Sequence[str], to: Placement) -> set[str] | None:
        """Move waiting and delayed jobs within the store, with all that it knows of them. Return
        the ids of those that were moved; None: they have to leave the store for that.
        """
        return None

    def make_due(self, queue: str) -> int:
        """Make every delayed job of `queue` due at once, for tests. Return their number."""
        raise Unsupported(
            f'Connection "{self.settings.name}" cannot run delayed jobs before their time: its '
            "driver has no way to. Dispatch them without a delay."
        )

    def unique_keys(self, queue: str) -> Mapping[str, str]:
        """Return the keys that jobs of `queue` have, with the ids of these; see `keeps_keys`."""
        raise NotImplementedError

    @abstractmethod
    def clear(self, queue: str) -> int:
        """Delete waiting and delayed jobs, never running ones. Return their number."""

    def warnings(self) -> list[str]:
        """Return what a worker's banner should say about this store."""
        return []

    def _unsupported(self, feature: Feature) -> Unsupported:
        what = {"peek": "list its jobs", "find": "look up a job by id", "remove": "delete one job"}
        reason = self.capabilities.why_not(feature) or "Its driver does not support it."
        return Unsupported(f'Connection "{self.settings.name}" cannot {what[feature]}: {reason}')
