"""What operators see and do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.drivers.base import Change
from djqueue.drivers.redis import scripts, stored
from djqueue.drivers.redis.servers.calls import BYTES, MOST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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

    def change(self, change: Change, queue: str, seen: Mapping[str, str]) -> set[str]:
        """As `Inspector.change`."""
        jobs = list(seen.items())
        if change is Change.RELEASE:
            return self._release(queue, jobs)
        if change is Change.RUN_NOW:
            return self._run_now(queue, list(seen))
        return self._remove(queue, "idle" if change is Change.DELETE else "held", jobs)

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool) -> int:
        """As `Inspector.remove`."""
        which = "any" if even_running else "idle"
        return len(self._remove(queue, which, [(id, "") for id in ids]))

    def release(self, queue: str, ids: Sequence[str]) -> int:
        """As `Inspector.release`."""
        return len(self._release(queue, [(id, "") for id in ids]))

    def _remove(self, queue: str, which: str, jobs: Sequence[tuple[str, str]]) -> set[str]:
        removed: set[str] = set()
        seen = 0
        while seen < len(jobs):
            arguments = (BYTES, which, *_with_tokens(jobs[seen : seen + MOST]))
            gone, looked_at = self._calls.run(scripts.REMOVE, queue, arguments)
            removed.update(map(_text, gone))
            seen += looked_at
        return removed

    def _release(self, queue: str, jobs: Sequence[tuple[str, str]]) -> set[str]:
        released: set[str] = set()
        for start in range(0, len(jobs), MOST):
            arguments = _with_tokens(jobs[start : start + MOST])
            released.update(map(_text, self._calls.run(scripts.RELEASE, queue, arguments)))
        return released

    def _run_now(self, queue: str, ids: Sequence[str]) -> set[str]:
        due: set[str] = set()
        for start in range(0, len(ids), MOST):
            arguments = [stored.raw(id) for id in ids[start : start + MOST]]
            due.update(map(_text, self._calls.run(scripts.RUN_NOW, queue, arguments)))
        return due

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


def _with_tokens(jobs: Sequence[tuple[str, str]]) -> list[bytes]:
    """Ids and the reservations that were seen, as scripts take them."""
    return [stored.raw(part) for job in jobs for part in job]


def _text(id: bytes) -> str:
    return id.decode("utf-8", "surrogateescape")
