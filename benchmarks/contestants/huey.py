"""huey, on SQLite and on Redis, with one worker thread."""

from __future__ import annotations

from typing import Any

import huey

from benchmarks.contestants import base
from benchmarks.sink import record


class Contestant(base.Contestant):
    """`fsync` is SQLite's: None is the library's default."""

    def __init__(self, store: dict[str, Any]) -> None:
        super().__init__(store)
        self._use(fsync=None)

    def _use(self, *, fsync: bool | None) -> None:
        if self.store["vendor"] == "sqlite":
            self._huey = huey.SqliteHuey("bench", filename=self.store["name"], fsync=fsync)
        else:
            self._huey = huey.RedisHuey("bench", url=self.store["url"])
        self._task = self._huey.task(name="noop")(record)

    def clear(self) -> None:
        self._huey.flush()

    def one(self, number: int) -> None:
        self._task(number)

    def work(self, fsync: bool | None = None) -> None:
        self._use(fsync=fsync)
        self._huey.create_consumer(workers=1).run()
