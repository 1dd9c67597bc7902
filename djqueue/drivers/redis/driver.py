"""The driver that keeps jobs in Redis, alone or as a cluster; Valkey is as good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from djqueue.drivers.base import (
    Capabilities,
    Change,
    Driver,
    Exchange,
    OutgoingJob,
    Promotion,
    QueueCounts,
    Reservation,
    Settlement,
    State,
    StoredJob,
    Wakeup,
)
from djqueue.drivers.redis import checks, scripts
from djqueue.drivers.redis.arguments import milliseconds
from djqueue.drivers.redis.inspecting import Inspection
from djqueue.drivers.redis.names import QueueNames
from djqueue.drivers.redis.pushing import Push, Pusher
from djqueue.drivers.redis.reserving import Holding, Reserving
from djqueue.drivers.redis.servers import server
from djqueue.drivers.redis.servers.calls import Calls, always
from djqueue.drivers.redis.servers.settings import make_store
from djqueue.drivers.redis.sweeping import Sweeping
from djqueue.drivers.redis.wakeup import RedisWakeup
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from django.core.checks import CheckMessage

    from djqueue.conf import ConnectionSettings
    from djqueue.drivers.redis.keys import Keys


class RedisDriver(Driver):
    """Each call is one script on the server of the queue. See `keys` for what is stored."""

    OPTIONS: ClassVar[dict[str, Any]] = {
        "URL": None,
        "CACHE": None,
        "CLUSTER": False,
        "BLOCK_FOR": 5,
        "PREFIX": "djqueue",
        "TIMEOUT": 5,
        "ALLOW_EVICTION": False,
        "ALLOW_SHARED_CACHE": False,
        "WINDOW": 100,
    }
    capabilities = Capabilities(tagged_queues=True)

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__(settings)
        self._store = make_store(self.settings)
        prefix = str(self.settings.option("PREFIX"))
        self._calls = Calls(self._store, prefix)
        self._jobs = Inspection(self._calls)
        self._pusher = Pusher(repeated_by_others=settings.outbox)
        self._names = QueueNames(self._store, prefix)
        self._worker = b""
        holding = Holding(milliseconds(settings.retry_after), (settings.queue,))
        self._reserving = Reserving(self._calls, holding)
        self._sweeping = Sweeping(self._calls, self._jobs, self._names, holding)
        self._wakeups: list[RedisWakeup] = []

    @classmethod
    def check(cls, settings: ConnectionSettings) -> list[CheckMessage]:
        return checks.check(settings)

    def _begin(self) -> None:
        """A call begins. All that it asks of the store is to be answered within our patience."""
        self._store.patience = self.patience
        self._store.begin()

    # -- dispatching ---------------------------------------------------------------------------

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        self._begin()
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
        self._names.add(job.queue)
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
            self._names.add(queue)
            keys = self._keys(queue)
            made = _noted(self._pusher.pushes(keys, by_queue[queue]), pushes)
            self._store.push(keys.body, made, scripts.PUSH)

        self._calls.each(by_queue, always(push), all_answer=True)

    # -- working -------------------------------------------------------------------------------

    def join(self) -> None:
        """Refuse a server that may forget jobs; from now on reservations carry this name."""
        self._begin()
        server.refuse_unfit(self._store, self.settings)
        worker = self.worker
        if worker is None:
            return
        self._worker = worker.name.encode("utf-8", "surrogateescape")
        holding = Holding(milliseconds(worker.lease), worker.queues, self._worker)
        self._reserving.holding = self._sweeping.holding = holding

    def warnings(self) -> list[str]:
        self._begin()
        return server.warnings(self._store, self.settings)

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        self._begin()
        lost, reservations = self._reserving.exchange(settlements, queues, limit)
        if queues:
            for wakeup in self._wakeups:
                wakeup.found(all_wanted=len(reservations) == limit)
        return Exchange(lost, reservations)

    def gone(self, ids: Sequence[str]) -> set[str]:
        return set(ids) - {job.id for job in self.find(ids)}

    def fence(self, reservation: Reservation) -> int:
        return int(str(reservation.handle).partition(":")[0])

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        self._begin()
        return self._reserving.extend(reservations)

    def promote(self, queues: Sequence[str]) -> Promotion:
        self._begin()
        return self._sweeping.promote(queues)

    def recover(self, limit: int, *, late: float = 0.0) -> list[Reservation]:
        self._begin()
        return self._sweeping.recover(limit, late)

    def unacknowledged(self, known: Sequence[Reservation]) -> list[Reservation]:
        self._begin()
        return self._sweeping.unacknowledged(known)

    def watch(self, queues: Sequence[str]) -> Wakeup | None:
        self._begin()
        block_for = float(self.settings.option("BLOCK_FOR"))
        wakeup = RedisWakeup(self._store, [self._keys(queue).wake for queue in queues], block_for)
        self._wakeups.append(wakeup)
        return wakeup

    # -- inspecting ----------------------------------------------------------------------------

    def counts(self, queue: str) -> QueueCounts:
        self._begin()
        return self._jobs.counts(queue)

    def queues(self) -> list[str]:
        self._begin()
        names = {self.settings.queue}

        def look(queue: str) -> None:
            keys = self._keys(queue)
            if self._calls.read(keys.body, b"EXISTS", keys.body):
                names.add(queue)

        self._calls.each(self._names.all(), always(look))
        return sorted(names)

    def peek(
        self, queue: str, state: State, limit: int = 20, after: str | None = None
    ) -> list[StoredJob]:
        self._begin()
        return self._jobs.peek(queue, state, limit, after)

    def find(self, ids: Sequence[str]) -> list[StoredJob]:
        self._begin()
        names = dict.fromkeys([self.settings.queue, *self._names.all()]) if ids else ()
        return self._jobs.find(names, ids)

    def change(self, change: Change, queue: str, seen: Mapping[str, str]) -> set[str]:
        self._begin()
        return self._jobs.change(change, queue, seen)

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool = False) -> int:
        self._begin()
        return self._jobs.remove(queue, ids, even_running=even_running)

    def release(self, queue: str, ids: Sequence[str]) -> int:
        self._begin()
        return self._jobs.release(queue, ids)

    def make_due(self, queue: str) -> int:
        self._begin()
        return self._jobs.make_due(queue)

    def clear(self, queue: str) -> int:
        self._begin()
        return self._jobs.clear(queue)

    # -- processes -----------------------------------------------------------------------------

    def after_fork_in_child(self) -> None:
        for wakeup in self._wakeups:
            wakeup.silence()
        self._wakeups = []
        self._store.silence()

    def close(self) -> None:
        for wakeup in self._wakeups:
            wakeup.close()
        self._wakeups = []
        self._names.forget()
        self._store.close()

    def _keys(self, queue: str) -> Keys:
        return self._calls.keys(queue)


def _noted(pushes: Iterable[Push], notes: list[Push]) -> Iterator[Push]:
    """The same, and each is in `notes` when it comes."""
    for push in pushes:
        notes.append(push)
        yield push
