"""The bare commands of djqueue's scripts, and a bare RPUSH, through redis-py."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.contestants import djqueue

if TYPE_CHECKING:
    from djqueue.drivers.base import OutgoingJob


class Contestant(djqueue.Contestant):
    """Works in djqueue's room."""

    def __init__(self, store: dict[str, Any]) -> None:
        super().__init__(store)
        import redis

        from djqueue.drivers.redis import scripts
        from djqueue.drivers.redis.keys import keys_of
        from djqueue.drivers.redis.pushing import Pusher

        self._client = redis.Redis.from_url(store["url"])
        for script in (scripts.PUSH, scripts.EXCHANGE):
            self._client.script_load(script.text)
        self._keys = keys_of("djqueue", "default")
        self._pusher = Pusher(repeated_by_others=False)
        self._exchange = scripts.EXCHANGE.call(self._keys)

    def prepare(self) -> None:
        """The room is djqueue's."""

    def evalsha(self, count: int) -> float:
        """The push script with ready arguments, one job a call."""
        jobs = [self._job(number) for number in range(count)]
        ready = [self._pusher.one(self._keys, job).command() for job in jobs]
        run = self._client.execute_command
        began = time.perf_counter()
        for command in ready:
            run(*command)
        return count / (time.perf_counter() - began)

    def rpush(self, count: int) -> float:
        """A list, and nothing around it."""
        payloads = [self._job(number).payload for number in range(count)]
        began = time.perf_counter()
        for payload in payloads:
            self._client.rpush("bench", payload)
        rate = count / (time.perf_counter() - began)
        self._client.delete("bench")
        return rate

    def _job(self, number: int) -> OutgoingJob:
        from benchmarks.project.jobs import Noop
        from djqueue.dispatch.dispatch import prepare
        from djqueue.jobs.definition.spec import spec_of

        job = Noop(number)
        return prepare(job, spec_of(job)).outgoing

    def loop(self, window: int) -> float:
        """Settle a window and take the next until the queue is empty; jobs a second."""
        run = self._client.execute_command
        head = (*self._exchange, window, 90_000, b"session", b"bench", 1 << 20)
        tokens: list[Any] = []
        taken = 0
        began = time.perf_counter()
        while True:
            fence, members, *_ = run(*head, *tokens)
            if not members:
                return taken / (time.perf_counter() - began)
            taken += len(members)
            token = fence + b":session:"
            tokens = [each for member in members for each in (member[15:], token)]
