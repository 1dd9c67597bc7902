"""Celery on Redis: one process that runs its jobs itself, without results."""

from __future__ import annotations

import time
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
        # A chord counts its members by their results.
        self._app.conf.result_backend = store["url"]
        self._member = self._app.task(name="member", ignore_result=False)(record)

    def clear(self) -> None:
        self._app.control.purge()

    def one(self, number: int) -> None:
        self._task.delay(number)

    def chord(self, count: int, last: int) -> int:
        """Dispatch a chord. Returns the moment before."""
        began = time.monotonic_ns()
        members = celery.group(self._member.s(number) for number in range(count))
        celery.chord(members)(self._task.si(last))
        return began

    def chain(self, count: int, last: int) -> int:
        """Dispatch a chain. Returns the moment before."""
        began = time.monotonic_ns()
        steps = [self._task.si(number) for number in range(count)]
        celery.chain(*steps, self._task.si(last)).delay()
        return began

    def work(self) -> None:
        self._app.worker_main(["worker", "--pool=solo", "--loglevel=WARNING", "--without-gossip"])
