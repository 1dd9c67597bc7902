"""What the members of a failover connection hold together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from djqueue.drivers.base import Inspector, QueueCounts, State, StoredJob
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from djqueue.conf import ConnectionSettings
    from djqueue.drivers.base import Capabilities


class FailoverInspector(Inspector):
    """Looks through the inspectors of all members."""

    def __init__(
        self,
        settings: ConnectionSettings,
        capabilities: Capabilities,
        members: Sequence[Inspector],
    ) -> None:
        super().__init__(settings, capabilities)
        self._members = members

    def counts(self, queue: str) -> QueueCounts:
        """Return the sums. Raises `QueueUnavailable` if a member cannot be asked: a part would
        mislead.
        """
        every = [member.counts(queue) for member in self._members]
        return QueueCounts(
            _sum(counts.waiting for counts in every),
            _sum(counts.delayed for counts in every),
            _sum(counts.reserved for counts in every),
            min((counts.oldest_at for counts in every if counts.oldest_at), default=None),
        )

    def queues(self) -> list[str]:
        names = {name for member in self._members for name in member.queues()}
        return sorted({self.settings.queue, *names})

    def peek(
        self, queue: str, state: State, limit: int = 20, after: str | None = None
    ) -> list[StoredJob]:
        """Return the first member's jobs, then the second's: stores have no order among them."""
        members = self._members
        if after is not None:
            having = [at for at, member in enumerate(members) if member.find([after])]
            members = members[having[0] :] if having else members
        found: list[StoredJob] = []
        for member in members:
            if len(found) < limit:
                found += member.peek(queue, state, limit - len(found), after)
            after = None
        return found

    def find(self, ids: Sequence[str]) -> list[StoredJob]:
        """Find jobs. A member that cannot be asked is an error only if a job was not found
        elsewhere.
        """
        found: list[StoredJob] = []
        silent: QueueUnavailable | None = None
        for member in self._members:
            try:
                found += member.find(ids)
            except QueueUnavailable as error:
                silent = error
        if silent is not None and not {job.id for job in found} >= set(ids):
            raise silent
        return found

    def search(self, part: str, limit: int = 20) -> list[StoredJob]:
        found = [job for member in self._members for job in member.search(part, limit)]
        return found[:limit]

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool = False) -> int:
        def act(member: Inspector) -> int:
            return member.remove(queue, ids, even_running=even_running)

        return self._everywhere(act, len(ids))

    def release(self, queue: str, ids: Sequence[str]) -> int:
        return self._everywhere(lambda member: member.release(queue, ids), len(ids))

    def make_due(self, queue: str) -> int:
        return self._everywhere(lambda member: member.make_due(queue))

    def clear(self, queue: str) -> int:
        return self._everywhere(lambda member: member.clear(queue))

    def _everywhere(self, act: Callable[[Inspector], int], enough: int | None = None) -> int:
        """Act on each member that can be reached, then raise the error of one that cannot. Return
        the number of jobs. When `enough` of them are found, a member that cannot be reached has
        nothing to add.
        """
        done = 0
        silent: QueueUnavailable | None = None
        for member in self._members:
            try:
                done += act(member)
            except QueueUnavailable as error:
                silent = error
        if silent is not None and (enough is None or done < enough):
            raise QueueUnavailable(
                f"{silent} It was done on the other members: {done:,} jobs there."
            ) from silent
        return done


def _sum(numbers: Iterable[int | None]) -> int | None:
    """Return the sum of numbers; None if one of them is not known."""
    total = 0
    for number in numbers:
        if number is None:
            return None
        total += number
    return total
