"""The driver that keeps jobs in Redis, alone or as a cluster; Valkey is as good."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from djqueue.conf.kinds import DURATION, FLAG, WINDOW, Option, named, or_none
from djqueue.drivers.base import Capabilities, Driver, OutgoingJob, WorkerIdentity
from djqueue.drivers.redis import checks, scripts, unique
from djqueue.drivers.redis.inspection import RedisInspector
from djqueue.drivers.redis.pushing import Push, Pusher
from djqueue.drivers.redis.servers.calls import Calls, always
from djqueue.drivers.redis.servers.settings import make_store
from djqueue.drivers.redis.session import RedisSession
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from django.core.checks import CheckMessage

    from djqueue.conf import ConnectionSettings
    from djqueue.drivers.redis.keys import Keys


class RedisDriver(Driver):
    """A push is one script on the server of the queue. See `keys` for what is stored."""

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "URL": Option(None, or_none(checks.URL)),
        "CACHE": Option(None, or_none(named("an alias of CACHES"))),
        "CLUSTER": Option(False, FLAG),
        "BLOCK_FOR": Option(5, DURATION),
        "PREFIX": Option("djqueue", checks.PREFIX),
        "TIMEOUT": Option(5, DURATION),
        "ALLOW_EVICTION": Option(False, FLAG),
        "ALLOW_SHARED_CACHE": Option(False, FLAG),
        "WINDOW": Option(100, WINDOW),
    }
    capabilities = Capabilities(tagged_queues=True)
    keeps_keys = True

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__(settings)
        self._store = make_store(self.settings)
        prefix = str(self.settings.option("PREFIX"))
        self._calls = Calls(self._store, prefix)
        self._pusher = Pusher(repeated_by_others=settings.outbox)

    @classmethod
    def check(cls, settings: ConnectionSettings) -> list[CheckMessage]:
        return checks.check(settings)

    @property
    def patience(self) -> float | None:
        return self._store.patience

    @patience.setter
    def patience(self, seconds: float | None) -> None:
        self._store.patience = seconds

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        self._calls.begin()
        pushes: list[Push] = []
        try:
            if len(jobs) == 1:
                self._push_one(jobs[0], pushes)
            else:
                self._push_all(jobs, pushes)
        except QueueUnavailable as error:
            error.stored = frozenset(id for each in pushes if each.is_stored for id in each.ids)
            error.ambiguous = any(each.in_doubt and not each.is_stored for each in pushes)
            raise

    def _push_one(self, job: OutgoingJob, pushes: list[Push]) -> None:
        self._calls.names.add(job.queue)
        keys = self._keys(job.queue)
        push = self._pusher.one(keys, job)
        pushes.append(push)
        self._store.push_one(keys.body, push, scripts.PUSH)

    def _push_all(self, jobs: Sequence[OutgoingJob], pushes: list[Push]) -> None:
        """Push `jobs`, queue by queue; `pushes` are the calls that this has taken."""
        by_queue: dict[str, list[OutgoingJob]] = {}
        for job in jobs:
            by_queue.setdefault(job.queue, []).append(job)

        def push(queue: str) -> None:
            self._calls.names.add(queue)
            keys = self._keys(queue)
            made = _noted(self._pusher.pushes(keys, by_queue[queue]), pushes)
            self._store.push(keys.body, made, scripts.PUSH)

        self._calls.each(by_queue, always(push), all_answer=True)

    def push_unique(self, jobs: Sequence[OutgoingJob]) -> Mapping[str, str]:
        self._calls.begin()
        return unique.push(self._calls, self._pusher, jobs)

    def session(self, worker: WorkerIdentity | None = None) -> RedisSession:
        return RedisSession(self._calls, self.settings, worker)

    def inspector(self) -> RedisInspector:
        return RedisInspector(self._calls, self.settings, self.capabilities)

    def close(self) -> None:
        self._calls.close()

    def _keys(self, queue: str) -> Keys:
        return self._calls.keys(queue)


def _noted(pushes: Iterable[Push], notes: list[Push]) -> Iterator[Push]:
    """Return the same; each is in `notes` when it comes."""
    for push in pushes:
        notes.append(push)
        yield push
