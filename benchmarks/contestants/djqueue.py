"""djqueue in a bare Django project."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import sink
from benchmarks.contestants import base


class Contestant(base.Contestant):
    """The connection is `main`; others of the settings are the same store, set otherwise."""

    def __init__(self, store: dict[str, Any]) -> None:
        super().__init__(store)
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.project.settings"
        import django

        django.setup()
        self.ready_at = time.monotonic_ns()

    def prepare(self) -> None:
        from django.core.management import call_command

        if self.store["vendor"] == "mariadb":
            self._create_database()
        call_command("migrate", verbosity=0)
        if self._vendor == "sqlite":
            self.sql("PRAGMA journal_mode=WAL")

    def _create_database(self) -> None:
        from django.db import connection

        with connection._nodb_cursor() as cursor:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS {self.store['name']}")

    @property
    def _vendor(self) -> str:
        from django.db import connection

        return connection.vendor

    def sql(self, *statements: str) -> None:
        """Run statements of the benchmark's own."""
        from django.db import connection

        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def run(self, statement: str) -> None:
        """Run one statement and read away its answer."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(statement)
            if cursor.description:
                cursor.fetchall()

    def clear(self) -> None:
        from djqueue import queues

        truncate = "TRUNCATE {}" if self._vendor != "sqlite" else "DELETE FROM {}"
        tables = ("jobs", "failed_jobs", "djqueue_workers")
        self.sql(*(truncate.format(table) for table in tables))
        if self.store["vendor"] not in ("postgresql", "mariadb", "sqlite"):
            queues["main"].clear("default")

    def one(self, number: int) -> None:
        from benchmarks.project.jobs import Noop

        Noop(number).dispatch()

    def dispatch(self, count: int) -> float:
        from benchmarks.project.jobs import Noop

        began = time.perf_counter()
        for number in range(count):
            Noop(number).dispatch()
        return count / (time.perf_counter() - began)

    def many(self, count: int) -> None:
        from benchmarks.project.jobs import Noop
        from djqueue import dispatch_many

        dispatch_many(Noop(number) for number in range(count))

    def naps(self, count: int) -> None:
        """Dispatch jobs that sleep."""
        from benchmarks.project.jobs import Nap
        from djqueue import dispatch_many

        dispatch_many(itertools.repeat(Nap(), count))

    def delayed(self, count: int) -> None:
        """Dispatch jobs that are due in an hour."""
        from benchmarks.project.jobs import Noop
        from djqueue import dispatch_many

        dispatch_many(Noop(number).using(delay=3600) for number in range(count))

    def work(self, connection: str = "main", arguments: Sequence[str] = ()) -> None:
        from django.core.management import execute_from_command_line

        place = Path(os.environ[sink.VARIABLE]).with_suffix(".ready")
        place.write_text(str(self.ready_at))
        execute_from_command_line(["manage.py", "queue_work", connection, *arguments])

    def hold(self) -> None:
        """Do nothing: the project with Django set up, for comparison."""
        sink.record()
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        while True:
            signal.pause()
