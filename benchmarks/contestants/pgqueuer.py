"""pgqueuer, with asyncpg and uvloop, the fastest that it offers."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence
from typing import Any

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

from benchmarks.contestants import base
from benchmarks.sink import record

_CHUNK = 1000


class Contestant(base.Contestant):
    """One event loop for life, one connection."""

    def __init__(self, store: dict[str, Any]) -> None:
        super().__init__(store)
        self._loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._connection: asyncpg.Connection = self._loop.run_until_complete(self._connect())
        self._queries = Queries(AsyncpgDriver(self._connection))

    async def _connect(self) -> asyncpg.Connection:
        store = self.store
        return await asyncpg.connect(
            host=store["host"], port=store["port"], user=store["user"], database=store["name"]
        )

    def prepare(self) -> None:
        self._loop.run_until_complete(self._queries.install())

    def clear(self) -> None:
        tables = "pgqueuer, pgqueuer_log, pgqueuer_statistics"
        self._loop.run_until_complete(self._connection.execute(f"TRUNCATE {tables}"))

    def one(self, number: int) -> None:
        self._loop.run_until_complete(self._queries.enqueue("noop", str(number).encode()))

    def dispatch(self, count: int) -> float:
        async def each() -> float:
            began = time.perf_counter()
            for number in range(count):
                await self._queries.enqueue("noop", str(number).encode())
            return count / (time.perf_counter() - began)

        return self._loop.run_until_complete(each())

    def many(self, count: int) -> None:
        async def chunks() -> None:
            for start in range(0, count, _CHUNK):
                numbers = range(start, min(start + _CHUNK, count))
                payloads = [str(number).encode() for number in numbers]
                await self._queries.enqueue(["noop"] * len(numbers), payloads, [0] * len(numbers))

        self._loop.run_until_complete(chunks())

    def pickup(self, pauses: Sequence[float]) -> list[int]:
        async def each() -> list[int]:
            await self._queries.enqueue("noop", b"-1")
            returned = []
            for number, pause in enumerate(pauses):
                await asyncio.sleep(pause)
                await self._queries.enqueue("noop", str(number).encode())
                returned.append(time.monotonic_ns())
            return returned

        return self._loop.run_until_complete(each())

    def work(self, batch: int = 100) -> None:
        async def run() -> None:
            queue = PgQueuer(AsyncpgDriver(self._connection))

            @queue.entrypoint("noop")
            async def noop(job: Any) -> None:
                record(int(job.payload))

            self._loop.add_signal_handler(signal.SIGTERM, queue.shutdown.set)
            await queue.run(batch_size=batch)

        self._loop.run_until_complete(run())
