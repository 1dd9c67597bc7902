"""The driver that keeps jobs in Redis, alone or as a cluster; Valkey is as good."""

from __future__ import annotations

import secrets
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar

from djqueue.drivers.base import (
    Capabilities,
    Driver,
    Exchange,
    OutgoingJob,
    Promotion,
    QueueCounts,
    Reservation,
    Settlement,
    State,
    StoredJob,
    Verdict,
    Wakeup,
    WorkerIdentity,
)
from djqueue.drivers.redis import checks, scripts, server, stored
from djqueue.drivers.redis.arguments import milliseconds, push_arguments, settle_arguments
from djqueue.drivers.redis.keys import ORDER, decode_body, keys_of
from djqueue.drivers.redis.names import QueueNames
from djqueue.drivers.redis.settings import make_store
from djqueue.drivers.redis.wakeup import RedisWakeup
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django.core.checks import CheckMessage

    from djqueue.conf import ConnectionSettings
    from djqueue.drivers.redis.keys import Keys
    from djqueue.drivers.redis.scripts import Script

MOST = 1000
"""Jobs that one call reserves or settles at most."""
SLICE = 100
"""Jobs that one promotion moves, so that no call keeps the server from others for long."""


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
    EXTRA = "redis"
    capabilities = Capabilities(tagged_queues=True)

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__(settings)
        self._store = make_store(self.settings)
        self._prefix = str(self.settings.option("PREFIX"))
        self._lease = milliseconds(settings.retry_after)
        self._worker = b""
        self._queues: tuple[str, ...] = (settings.queue,)
        self._names = QueueNames(self._store, self._prefix)
        self._wakeups: list[RedisWakeup] = []

    @classmethod
    def check(cls, settings: ConnectionSettings) -> list[CheckMessage]:
        return checks.check(settings)

    # -- dispatching ---------------------------------------------------------------------------

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        by_queue: dict[str, list[Any]] = {}
        for job in jobs:
            by_queue.setdefault(job.queue, []).append(job)
        sent = self._store.sent
        try:
            for queue, some in by_queue.items():
                self._names.add(queue)
                keys = self._keys(queue)
                beginning = _beginning(scripts.PUSH, keys)
                commands = ((*beginning, *arguments) for arguments in push_arguments(some))
                self._store.run_all(keys.number, commands, scripts.PUSH)
        except QueueUnavailable as error:
            error.ambiguous = self._store.sent != sent
            raise

    # -- working -------------------------------------------------------------------------------

    def join(self, worker: WorkerIdentity) -> None:
        """Refuse a server that may forget jobs; from now on reservations carry this name."""
        server.refuse_unfit(self._store, self.settings)
        self._lease = milliseconds(worker.lease)
        self._worker = f"{secrets.token_hex(4)}/{worker.name}".encode()
        self._queues = worker.queues

    def remarks(self) -> list[str]:
        return server.remarks(self._store, self.settings)

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        lost: set[str] = set()
        removals: dict[str, list[Any]] = {}
        returns: dict[str, list[Settlement]] = {}
        for settlement in settlements:
            reservation = settlement.reservation
            if settlement.verdict is Verdict.REMOVE:
                removals.setdefault(reservation.queue, []).extend(
                    (reservation.id, reservation.handle)
                )
            else:
                returns.setdefault(reservation.queue, []).append(settlement)
        for queue, some in returns.items():
            self._put_back(queue, some, lost)
        reservations: list[Reservation] = []
        for queue in queues:
            wanted = limit - len(reservations)
            tokens = removals.pop(queue, ())
            if wanted > 0 or tokens:
                reservations += self._exchange(queue, tokens, wanted, lost)
        for queue, tokens in removals.items():
            self._exchange(queue, tokens, 0, lost)
        if queues:
            for wakeup in self._wakeups:
                wakeup.found(all_wanted=len(reservations) == limit)
        return Exchange(lost, reservations)

    def _exchange(
        self, queue: str, tokens: Sequence[Any], limit: int, lost: set[str]
    ) -> list[Reservation]:
        while len(tokens) > 2 * MOST:
            self._exchange(queue, tokens[: 2 * MOST], 0, lost)
            tokens = tokens[2 * MOST :]
        arguments = (min(max(limit, 0), MOST), self._lease, self._worker, *tokens)
        fence, members, bodies, states, gone = self._call(scripts.EXCHANGE, queue, arguments)
        if gone:
            lost.update(id.decode() for id in gone)
        token = f"{fence.decode()}:"
        found = []
        for member, body, state in zip(members, bodies, states or repeat(None), strict=False):
            if body is not None:
                name, payload = decode_body(body)
                attempts, interruptions, history = stored.decode_state(state)
                id = member[ORDER:].decode()
                found.append(
                    Reservation(
                        id, queue, name, payload, attempts + 1, interruptions, history, token
                    )
                )
        return found

    def _put_back(self, queue: str, settlements: Sequence[Settlement], lost: set[str]) -> None:
        for start in range(0, len(settlements), MOST // 2):
            arguments = settle_arguments(settlements[start : start + MOST // 2])
            lost.update(id.decode() for id in self._call(scripts.SETTLE, queue, arguments))

    def fence(self, reservation: Reservation) -> int:
        return int(str(reservation.handle).partition(":")[0])

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        by_queue: dict[str, list[Any]] = {}
        for reservation in reservations:
            by_queue.setdefault(reservation.queue, []).extend((reservation.id, reservation.handle))
        lost: set[str] = set()
        for queue, tokens in by_queue.items():
            for start in range(0, len(tokens), 2 * MOST):
                arguments = (self._lease, *tokens[start : start + 2 * MOST])
                gone = self._call(scripts.EXTEND, queue, arguments, again=True)
                lost.update(id.decode() for id in gone)
        return lost

    def promote(self, queues: Sequence[str]) -> Promotion:
        moved, dues = 0, []
        for queue in queues:
            some, due = self._call(scripts.PROMOTE, queue, (SLICE,))
            moved += some
            if due >= 0:
                dues.append(due / 1000)
        return Promotion(moved, min(dues, default=None))

    def recover(self, limit: int) -> list[Reservation]:
        taken: list[Reservation] = []
        for queue in self._names.all_and(self._queues):
            wanted = min(limit - len(taken), MOST)
            if wanted > 0:
                arguments = (wanted, self._lease, self._worker)
                _, ids, bodies, states, holders = self._call(scripts.RECOVER, queue, arguments)
                taken += stored.held(queue, ids, bodies, states, holders)
        return taken

    def strays(self, known: Sequence[Reservation]) -> list[Reservation]:
        theirs = {(reservation.id, reservation.handle) for reservation in known}
        found: list[Reservation] = []
        for queue in self._names.all_and(self._queues):
            keys = self._keys(queue)
            everything = self._command(keys.held, b"HGETALL", keys.held)
            holders = dict(zip(everything[::2], everything[1::2], strict=True))
            ids = [id for id, held in holders.items() if stored.holder(held) == self._worker]
            if ids:
                bodies = self._command(keys.body, b"HMGET", keys.body, *ids)
                states = self._command(keys.state, b"HMGET", keys.state, *ids)
                found += stored.held(queue, ids, bodies, states, [holders[id] for id in ids])
        return [r for r in found if (r.id, r.handle) not in theirs]

    def watch(self, queues: Sequence[str]) -> Wakeup | None:
        block_for = float(self.settings.option("BLOCK_FOR"))
        wakeup = RedisWakeup(self._store, [self._keys(queue).wake for queue in queues], block_for)
        self._wakeups.append(wakeup)
        return wakeup

    # -- inspecting ----------------------------------------------------------------------------

    def counts(self, queue: str) -> QueueCounts:
        return stored.counts(self._call(scripts.COUNTS, queue, (), again=True))

    def queues(self) -> list[str]:
        names = {self.settings.queue}
        for queue in self._names.all():
            keys = self._keys(queue)
            if self._command(keys.body, b"EXISTS", keys.body):
                names.add(queue)
        return sorted(names)

    def peek(
        self, queue: str, state: State, limit: int = 20, after: str | None = None
    ) -> list[StoredJob]:
        arguments = (str(state), limit, after or "")
        ids = self._call(scripts.PEEK, queue, arguments, again=True)
        # Whatever has changed its state between the two calls is not listed.
        return [job for job in self._find(queue, ids) if job.state is state]

    def find(self, ids: Sequence[str]) -> list[StoredJob]:
        names = dict.fromkeys([self.settings.queue, *self._names.all()]) if ids else ()
        return [job for queue in names for job in self._find(queue, ids)]

    def _find(self, queue: str, ids: Sequence[Any]) -> list[StoredJob]:
        found: list[StoredJob] = []
        for start in range(0, len(ids), MOST):
            arguments = ids[start : start + MOST]
            found += stored.describe(queue, self._call(scripts.FIND, queue, arguments, again=True))
        return found

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool = False) -> int:
        return sum(
            self._call(scripts.REMOVE, queue, (int(even_running), *ids[start : start + MOST]))
            for start in range(0, len(ids), MOST)
        )

    def release(self, queue: str, ids: Sequence[str]) -> int:
        return sum(
            self._call(scripts.RELEASE, queue, ids[start : start + MOST])
            for start in range(0, len(ids), MOST)
        )

    def hasten(self, queue: str) -> int:
        moved = 0
        while some := self._call(scripts.HASTEN, queue, (SLICE,)):
            moved += some
        return moved

    def clear(self, queue: str) -> int:
        removed = 0
        while some := self._call(scripts.CLEAR, queue, (MOST,)):
            removed += some
        return removed

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

    # -- commands ------------------------------------------------------------------------------

    def _call(
        self, script: Script, queue: str, arguments: Iterable[Any], *, again: bool = False
    ) -> Any:
        keys = self._keys(queue)
        command = (*_beginning(script, keys), *arguments)
        return self._store.run(keys.number, command, script, again=again)

    def _command(self, key: bytes, *command: Any) -> Any:
        return self._store.run(key, command, again=True)

    def _keys(self, queue: str) -> Keys:
        return _keys(self._prefix, queue)


@lru_cache(maxsize=1024)
def _keys(prefix: str, queue: str) -> Keys:
    return keys_of(prefix, queue)


@lru_cache(maxsize=4096)
def _beginning(script: Script, keys: Keys) -> tuple[bytes | int, ...]:
    return script.call(keys)
