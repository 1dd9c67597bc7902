"""What a worker asks of Redis: each call is one script on the server of the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from djqueue.drivers.base import Exchange, Session
from djqueue.drivers.redis import scripts
from djqueue.drivers.redis.codec import milliseconds
from djqueue.drivers.redis.inspection import find
from djqueue.drivers.redis.reserving import Holding, Reserving
from djqueue.drivers.redis.servers import server
from djqueue.drivers.redis.sweeping import Sweeping
from djqueue.drivers.redis.wakeup import RedisWakeup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from djqueue.conf import ConnectionSettings
    from djqueue.drivers.base import Promotion, Reservation, Settlement, Wakeup, WorkerIdentity
    from djqueue.drivers.redis.servers.calls import Calls
    from djqueue.errors import QueueUnavailable


class RedisSession(Session):
    """Reserves under a session number of its own, which a worker draws when it joins."""

    def __init__(
        self, calls: Calls, settings: ConnectionSettings, worker: WorkerIdentity | None
    ) -> None:
        self._calls = calls
        self._settings = settings
        self._worker = worker
        holding = Holding(milliseconds(settings.retry_after), (settings.queue,))
        self._reserving = Reserving(calls, holding)
        self._sweeping = Sweeping(calls, holding)

    def join(self) -> None:
        """Refuse a server that may lose jobs; from now on reservations carry the worker's name."""
        worker = self._worker
        if worker is None:
            return
        self._calls.begin()
        server.refuse_unfit(self._calls.store, self._settings)
        name = worker.name.encode("utf-8", "surrogateescape")
        holding = Holding(milliseconds(worker.lease), worker.queues, name)
        self._reserving.holding = self._sweeping.holding = holding

    @property
    def lease(self) -> float:
        return self._settings.retry_after

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        self._calls.begin()
        lost, reservations = self._reserving.exchange(settlements, queues, limit)
        if queues:
            for wakeup in self._calls.wakeups:
                wakeup.found(all_wanted=len(reservations) == limit)
        return Exchange(lost, reservations)

    def gone(self, ids: Sequence[str]) -> set[str]:
        self._calls.begin()
        return set(ids) - {job.id for job in find(self._calls, self._settings.queue, ids)}

    def free_key(self, id: str, queue: str, key: str) -> None:
        self._calls.begin()
        self._calls.run(scripts.FREE_KEY, queue, (key, id), again=True)

    def fence(self, reservation: Reservation) -> int:
        return int(str(reservation.handle).partition(":")[0])

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        self._calls.begin()
        return self._reserving.extend(reservations)

    def promote(self, queues: Sequence[str]) -> Promotion:
        self._calls.begin()
        return self._sweeping.promote(queues)

    def recover(self, limit: int, *, late: float = 0.0) -> list[Reservation]:
        self._calls.begin()
        return self._sweeping.recover(limit, late)

    def unacknowledged(self, known: Sequence[Reservation]) -> list[Reservation]:
        self._calls.begin()
        return self._sweeping.unacknowledged(known)

    def watch(self, queues: Sequence[str]) -> Wakeup | None:
        self._calls.begin()
        keys = [self._calls.keys(queue).wake for queue in queues]
        block_for = float(self._settings.option("BLOCK_FOR"))
        wakeup = RedisWakeup(self._calls.store, keys, block_for)
        self._calls.wakeups.append(wakeup)
        return wakeup

    def reset_connection(self, error: QueueUnavailable) -> None:
        self._calls.close()
