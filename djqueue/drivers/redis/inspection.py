"""What operators see and do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.drivers.base import Change, Inspector, State
from djqueue.drivers.redis import codec, scripts
from djqueue.drivers.redis.servers import server
from djqueue.drivers.redis.servers.calls import BYTES, MOST, always
from djqueue.drivers.slices import slices
from djqueue.errors import QueueUnavailable
from djqueue.text import short_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from djqueue.conf import ConnectionSettings
    from djqueue.drivers.base import Capabilities, QueueCounts, StoredJob
    from djqueue.drivers.redis.servers.calls import Calls

SLICE = 100
"""Jobs that one promotion moves, so that no call keeps the server from others for long."""

SCANNED = b"3000"
"""Ids that one call compares, in about as many microseconds."""


class RedisInspector(Inspector):
    """Counting, listing, removing. No script reads more than `BYTES` of bodies, and one more."""

    def __init__(
        self, calls: Calls, settings: ConnectionSettings, capabilities: Capabilities
    ) -> None:
        super().__init__(settings, capabilities)
        self._calls = calls

    def counts(self, queue: str) -> QueueCounts:
        self._calls.begin()
        return codec.counts(self._calls.run(scripts.COUNTS, queue, (), again=True))

    def queues(self) -> list[str]:
        self._calls.begin()
        names = {self.settings.queue}

        def look(queue: str) -> None:
            keys = self._calls.keys(queue)
            if self._calls.read(keys.body, b"EXISTS", keys.body):
                names.add(queue)

        self._calls.each(self._calls.names.all(), always(look))
        return sorted(names)

    def peek(
        self, queue: str, state: State, limit: int = 20, after: str | None = None
    ) -> list[StoredJob]:
        self._calls.begin()
        arguments = (str(state), limit, codec.raw(after or ""))
        members = self._calls.run(scripts.PEEK, queue, arguments, again=True)
        # Whatever has changed its state between the two calls is not listed.
        found = list(zip(members[1::2], members[::2], strict=True))
        jobs = codec.describe(queue, *rows_of(self._calls, queue, found))
        return [job for job in jobs if job.state is state]

    def _stuck(self, queue: str, at_most: int = 1000) -> int:
        self._calls.begin()
        arguments = (str(State.STUCK), at_most, b"")
        return len(self._calls.run(scripts.PEEK, queue, arguments, again=True)) // 2

    def find(self, ids: Sequence[str]) -> list[StoredJob]:
        self._calls.begin()
        return find(self._calls, self.settings.queue, ids)

    def search(self, part: str, limit: int = 20) -> list[StoredJob]:
        """Do as `Inspector.search`. The server compares the ids, and reads no other jobs."""
        self._calls.begin()
        begin, end = short_ids.as_begin(part), short_ids.as_end(part)
        # A short part has no hyphen in it, whatever its place: then one look is enough.
        patterns = (f"*{part}*",) if begin == end == part else (f"{begin}*", f"*{end}")
        found: dict[str, None] = {}

        def look(queue: str) -> None:
            for pattern in patterns:
                ids = self._like(queue, pattern, limit - len(found))
                found.update((id, None) for id in ids if id.startswith(begin) or id.endswith(end))

        silent = self._calls.each(self._calls.names.all(), always(look))
        if silent is not None and not found:
            raise silent
        return self.find(list(found)[:limit])

    def _like(self, queue: str, pattern: str, limit: int) -> list[str]:
        """Return ids in a queue that fit a pattern."""
        body, cursor = self._calls.keys(queue).body, b"0"
        found: list[str] = []
        while len(found) < limit:
            asked = (b"HSCAN", body, cursor, b"MATCH", pattern.encode(), b"COUNT", SCANNED)
            cursor, fields = self._calls.read(body, *asked)
            found += map(_text, fields[::2])
            if cursor == b"0":
                break
        return found

    def change(self, change: Change, queue: str, seen: Mapping[str, str]) -> set[str]:
        self._calls.begin()
        jobs = list(seen.items())
        if change is Change.RELEASE:
            return self._release(queue, jobs)
        if change is Change.RUN_NOW:
            return self._run_now(queue, list(seen))
        return self._remove(queue, "idle" if change is Change.DELETE else "held", jobs)

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool = False) -> int:
        self._calls.begin()
        which = "any" if even_running else "idle"
        return len(self._remove(queue, which, [(id, "") for id in ids]))

    def unique_keys(self, queue: str) -> Mapping[str, str]:
        self._calls.begin()
        answer = self._calls.run(scripts.HELD_KEYS, queue, (), again=True)
        texts = [each.decode() for each in answer]
        return dict(zip(texts[::2], texts[1::2], strict=True))

    def release(self, queue: str, ids: Sequence[str]) -> int:
        self._calls.begin()
        return len(self._release(queue, [(id, "") for id in ids]))

    def _remove(self, queue: str, which: str, jobs: Sequence[tuple[str, str]]) -> set[str]:
        removed: set[str] = set()
        seen = 0
        while seen < len(jobs):
            arguments = (BYTES, which, *_with_tokens(jobs[seen : seen + MOST]))
            try:
                gone, looked_at = self._calls.run(scripts.REMOVE, queue, arguments)
            except QueueUnavailable as error:
                error.ambiguous |= bool(removed)
                raise
            removed.update(map(_text, gone))
            seen += looked_at
        return removed

    def _release(self, queue: str, jobs: Sequence[tuple[str, str]]) -> set[str]:
        released: set[str] = set()
        for some in slices(jobs, MOST):
            arguments = _with_tokens(some)
            released.update(map(_text, self._calls.run(scripts.RELEASE, queue, arguments)))
        return released

    def _run_now(self, queue: str, ids: Sequence[str]) -> set[str]:
        due: set[str] = set()
        for some in slices(ids, MOST):
            arguments = (0, *map(codec.raw, some))
            due.update(map(_text, self._calls.run(scripts.MAKE_DUE, queue, arguments)))
        return due

    def make_due(self, queue: str) -> int:
        self._calls.begin()
        moved = 0
        while some := self._calls.run(scripts.MAKE_DUE, queue, (SLICE,)):
            moved += len(some)
        return moved

    def clear(self, queue: str) -> int:
        self._calls.begin()
        removed = 0
        while some := self._calls.run(scripts.CLEAR, queue, (MOST,)):
            removed += some
        return removed

    def warnings(self) -> list[str]:
        self._calls.begin()
        return server.warnings(self._calls.store, self.settings)


def find(calls: Calls, first: str, ids: Sequence[str]) -> list[StoredJob]:
    """Return the stored jobs among `ids`: those of the queue `first`, then those of the others.
    Raises `QueueUnavailable` if one is not found and a queue, which may have it, did not answer.
    """
    wanted = [(codec.raw(id), b"") for id in ids]
    found: list[StoredJob] = []

    def look(queue: str) -> None:
        found.extend(codec.describe(queue, *rows_of(calls, queue, wanted)))

    if ids:
        silent = calls.each(dict.fromkeys([first, *calls.names.all()]), always(look))
        if silent is not None and len({job.id for job in found}) < len(set(ids)):
            raise silent
    return found


def rows_of(calls: Calls, queue: str, jobs: Sequence[tuple[bytes, bytes]]) -> tuple[int, list[Any]]:
    """Return the server's time, and what the find script says of jobs: their ids and orders."""
    rows: list[Any] = []
    now = seen = 0
    while seen < len(jobs):
        some = [part for job in jobs[seen : seen + MOST] for part in job]
        now, more, looked_at = calls.run(scripts.FIND, queue, (BYTES, *some), again=True)
        rows += more
        seen += looked_at
    return now, rows


def _with_tokens(jobs: Sequence[tuple[str, str]]) -> list[bytes]:
    """Return ids and the reservations that were seen, as scripts take them."""
    return [codec.raw(part) for job in jobs for part in job]


def _text(id: bytes) -> str:
    return id.decode("utf-8", "surrogateescape")
