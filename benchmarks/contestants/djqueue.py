"""djqueue in a bare Django project."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
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
        tables = ["jobs", "failed_jobs", "job_batches", "djqueue_workers"]
        tables += ["djqueue_outbox", "djqueue_results", "djqueue_runs"]
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

    # -- jobs that something follows from --------------------------------------------------------

    def batched(self, count: int) -> None:
        """Dispatch a batch of jobs that do nothing."""
        from benchmarks.project.jobs import Noop
        from djqueue import batch

        batch(Noop(number) for number in range(count)).dispatch()

    def batched_naps(self, count: int) -> None:
        """Dispatch a batch of jobs that sleep."""
        from benchmarks.project.jobs import Nap
        from djqueue import batch

        batch(itertools.repeat(Nap(), count)).dispatch()

    def batched_rests(self, count: int) -> None:
        """Dispatch a batch of jobs that sleep a little longer."""
        from benchmarks.project.jobs import Rest
        from djqueue import batch

        batch(itertools.repeat(Rest(), count)).dispatch()

    def failing(self, count: int) -> None:
        """Dispatch jobs that fail."""
        from benchmarks.project.jobs import Failing
        from djqueue import dispatch_many

        dispatch_many(Failing(number) for number in range(count))

    def chained(self, count: int) -> None:
        """Dispatch a chain."""
        from benchmarks.project.jobs import Step
        from djqueue import chain

        chain(Step(number) for number in range(count)).dispatch()

    def batch_to_end(self, count: int, last: int) -> int:
        """Dispatch a batch with a job that comes last. Returns the moment before."""
        from benchmarks.project.jobs import Noop
        from djqueue import batch

        began = time.monotonic_ns()
        batch((Noop(number) for number in range(count)), on_finish=Noop(last)).dispatch()
        return began

    def chain_to_end(self, count: int, last: int) -> int:
        """Dispatch a chain with such a job. Returns the moment before."""
        from benchmarks.project.jobs import Noop
        from djqueue import chain

        began = time.monotonic_ns()
        chain([*(Noop(number) for number in range(count)), Noop(last)]).dispatch()
        return began

    def dispatch_kept(self, count: int) -> float:
        """Jobs a second, in bulk, of jobs whose results are kept."""
        from benchmarks.project.jobs import Kept
        from djqueue import dispatch_many

        began = time.perf_counter()
        dispatch_many(Kept(number) for number in range(count))
        return count / (time.perf_counter() - began)

    def dispatch_batch(self, count: int) -> tuple[float, float, float]:
        """Seconds, processor seconds and megabytes that the dispatch of a batch takes."""
        from djqueue import batch

        return _in_child(lambda jobs: batch(jobs).dispatch(), count)

    def dispatch_plain(self, count: int) -> tuple[float, float, float]:
        """The same for jobs that are not bound."""
        from djqueue import dispatch_many

        return _in_child(dispatch_many, count)

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


def _in_child(dispatch: Callable[[Iterator[Any]], object], count: int) -> tuple[float, ...]:
    """Dispatch `count` jobs in a process of its own: seconds, processor seconds, and the megabytes
    by which that process has grown.
    """
    from django.db import connections

    connections.close_all()
    reading, writing = os.pipe()
    if not os.fork():
        os.write(writing, json.dumps(_dispatched(dispatch, count)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        figures: list[float] = json.loads(answer.read())
    os.wait()
    return tuple(figures)


def _dispatched(
    dispatch: Callable[[Iterator[Any]], object], count: int
) -> tuple[float, float, float]:
    from benchmarks.project.jobs import Noop

    most = 0.0

    def jobs() -> Iterator[Any]:
        nonlocal most
        for number in range(count):
            if number % 2000 == 1999:
                most = max(most, _megabytes())
            yield Noop(number)

    dispatch(itertools.islice(jobs(), 1))  # what is made once is made
    most = before = _megabytes()
    began, spent = time.perf_counter(), time.process_time()
    dispatch(jobs())
    return time.perf_counter() - began, time.process_time() - spent, most - before


def _megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
