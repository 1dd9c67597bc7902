"""What operators see and do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.drivers.redis import scripts, stored
from djqueue.drivers.redis.servers.calls import BYTES, MOST

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from djqueue.drivers.base import QueueCounts, State, StoredJob
    from djqueue.drivers.redis.servers.calls import Calls

SLICE = 100
"""Jobs that one promotion moves, so that no call keeps the server from others for long."""


class Inspection:
    """Counting, listing, removing. No script reads more than `BYTES` of bodies, and one more."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def counts(self, queue: str) -> QueueCounts:
        """As `Inspector.counts`."""
        return stored.counts(self._calls.run(scripts.COUNTS, queue, (), again=True))

    def peek(self, queue: str, state: State, limit: int, after: str | None) -> list[StoredJob]:
        """As `Inspector.peek`."""
        arguments = (str(state), limit, stored.raw(after or ""))
        members = self._calls.run(scripts.PEEK, queue, arguments, again=True)
        # Whatever has changed its state between the two calls is not listed.
        found = self._found(queue, list(zip(members[1::2], members[::2], strict=True)))
        return [job for job in found if job.state is state]

    def find(self, queues: Iterable[str], ids: Sequence[str]) -> list[StoredJob]:
        """As `Inspector.find`."""
        wanted = [(stored.raw(id), b"") for id in ids]
        found: list[StoredJob] = []

        def look(queue: str) -> bool:
            found.extend(self._found(queue, wanted))
            return True

        self._calls.each(queues, look)
        return found

    def rows(self, queue: str, jobs: Sequence[tuple[bytes, bytes]]) -> tuple[int, list[Any]]:
        """The server's time, and what the find script tells of jobs: their ids and orders."""
        rows: list[Any] = []
        now = seen = 0
        while seen < len(jobs):
            some = [part for job in jobs[seen : seen + MOST] for part in job]
            now, more, looked_at = self._calls.run(scripts.FIND, queue, (BYTES, *some), again=True)
            rows += more
            seen += looked_at
        return now, rows

    def _found(self, queue: str, jobs: Sequence[tuple[bytes, bytes]]) -> list[StoredJob]:
        return stored.describe(queue, *self.rows(queue, jobs))

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool) -> int:
        """As `Inspector.remove`."""
        removed = seen = 0
        while seen < len(ids):
            some = [stored.raw(id) for id in ids[seen : seen + MOST]]
            arguments = (BYTES, int(even_running), *some)
            gone, looked_at = self._calls.run(scripts.REMOVE, queue, arguments)
            removed += gone
            seen += looked_at
        return removed

    def release(self, queue: str, ids: Sequence[str]) -> int:
        """As `Inspector.release`."""
        return sum(
            self._calls.run(
                scripts.RELEASE, queue, [stored.raw(id) for id in ids[start : start + MOST]]
            )
            for start in range(0, len(ids), MOST)
        )

    def make_due(self, queue: str) -> int:
        """As `Inspector.make_due`."""
        moved = 0
        while some := self._calls.run(scripts.MAKE_DUE, queue, (SLICE,)):
            moved += some
        return moved

    def clear(self, queue: str) -> int:
        """As `Inspector.clear`."""
        removed = 0
        while some := self._calls.run(scripts.CLEAR, queue, (MOST,)):
            removed += some
        return removed
