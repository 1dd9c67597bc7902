"""Celery on Redis: one process that runs its jobs itself, without results."""

from __future__ import annotations

from typing import Any

import celery

from benchmarks.contestants import base
from benchmarks.sink import record


class Contestant(base.Contestant):
    def __init__(self, store: dict[str, Any]) -> None:
        super().__init__(store)
        self._app = celery.Celery("bench", broker=store["url"])
        self._app.conf.task_ignore_result = True
        self._task = self._app.task(name="noop")(record)

    def clear(self) -> None:
        self._app.control.purge()

    def one(self, number: int) -> None:
        self._task.delay(number)

    def work(self) -> None:
        self._app.worker_main(["worker", "--pool=solo", "--loglevel=WARNING", "--without-gossip"])
