"""procrastinate, without Django."""

from __future__ import annotations

from typing import Any

import procrastinate
import psycopg

from benchmarks.contestants import base
from benchmarks.sink import record

_CHUNK = 1000


class Contestant(base.Contestant):
    """Dispatches through the synchronous connector, works through the asynchronous one."""

    def __init__(self, store: dict[str, Any]) -> None:
        super().__init__(store)
        address = {"host": store["host"], "port": store["port"], "user": store["user"]}
        self._address = {**address, "dbname": store["name"]}
        self._app = self._made(procrastinate.SyncPsycopgConnector)
        self._opened = False

    def _made(self, connector: Any) -> procrastinate.App:
        app = procrastinate.App(connector=connector(kwargs=self._address))

        @app.task(name="noop")
        async def noop(number: int) -> None:
            record(number)

        return app

    def _open(self) -> procrastinate.App:
        if not self._opened:
            self._opened = True
            self._app.open()
        return self._app

    def prepare(self) -> None:
        self._open().schema_manager.apply_schema()

    def clear(self) -> None:
        with psycopg.connect(**self._address, autocommit=True) as connection:
            connection.execute(
                "TRUNCATE procrastinate_jobs, procrastinate_events, procrastinate_periodic_defers"
            )

    def one(self, number: int) -> None:
        self._open().tasks["noop"].defer(number=number)

    def many(self, count: int) -> None:
        task = self._open().tasks["noop"]
        for start in range(0, count, _CHUNK):
            numbers = range(start, min(start + _CHUNK, count))
            task.batch_defer(*({"number": number} for number in numbers))

    def work(self, concurrency: int = 10) -> None:
        app = self._made(procrastinate.PsycopgConnector)
        app.run_worker(concurrency=concurrency, name="bench", install_signal_handlers=True)
