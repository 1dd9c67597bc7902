"""dramatiq on Redis, with eight threads, its default."""

from __future__ import annotations

import signal
import threading
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.contestants import base
from benchmarks.sink import record


class Contestant(base.Contestant):
    def __init__(self, store: dict[str, Any]) -> None:
        super().__init__(store)
        self._broker = RedisBroker(url=store["url"])
        dramatiq.set_broker(self._broker)
        self._actor = dramatiq.actor(record, actor_name="noop")

    def clear(self) -> None:
        self._broker.flush_all()

    def one(self, number: int) -> None:
        self._actor.send(number)

    def work(self, threads: int = 8) -> None:
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        worker = dramatiq.Worker(self._broker, worker_threads=threads)
        worker.start()
        ended.wait()
        worker.stop()
