"""The database goes away and comes back: workers go on by themselves, and every job has one end."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from django.db import Error, connection, connections

from djqueue import dispatch_many
from djqueue.errors import QueueUnavailable
from djqueue.models import FailedJob, QueuedJob, Worker
from tests import elsewhere
from tests import ledger as ledgers
from tests.app import jobs
from tests.app.models import Note
from tests.ledger import Ledger
from tests.services import MariaDB, PostgreSQL, Proxy
from tests.support import WorkerProcess, start_worker, wait_until

pytestmark = pytest.mark.scenario

SECONDS = float(os.environ.get("DJQUEUE_TEST_OUTAGE", "3"))
"""How long a server is maltreated."""
RESUMED = 5.0
T = TypeVar("T")
JOBS, FAILING = int(os.environ.get("DJQUEUE_TEST_OUTAGE_JOBS", "1500")), 60


class Load:
    """Jobs, workers on them, and what has to be true in the end."""

    def __init__(self, ledger: Ledger, *workers: WorkerProcess) -> None:
        self.ledger = ledger
        self.workers = workers
        self.resumed: list[float] = []

    @property
    def output(self) -> str:
        return "\n".join(worker.output for worker in self.workers)

    def is_accounted_for(self, *, once: bool = True) -> None:
        """All have run, each once; the workers are those that were started, and live."""
        timeout = 60 + JOBS / 50
        wait_until(lambda: _asked(QueuedJob.objects.exists) is False, timeout, every=0.2)
        begun = self.ledger.count("begin")
        assert set(self.ledger.details("end")) >= {str(number) for number in range(JOBS)}
        again = {id: runs for id, runs in begun.items() if runs > 1}
        if once:
            assert not again
        output = self.output
        assert not sum(id not in output for id in again), "runs without a line"
        assert all(worker.is_running for worker in self.workers)
        resumed = ", ".join(f"{seconds:.1f} s" for seconds in self.resumed)
        print(f"{JOBS} jobs, resumed after {resumed}, {sum(again.values()) - len(again)} ran again")

    def has_resumed(self) -> None:
        """What is dispatched now is run within seconds."""
        before = len(self.ledger.lines("end"))
        began = time.monotonic()
        wait_until(lambda: _asked(lambda: jobs.record.dispatch(-1)) is not None)
        wait_until(lambda: len(self.ledger.lines("end")) > before, timeout=RESUMED + 5)
        self.resumed.append(time.monotonic() - began)
        assert self.resumed[-1] < RESUMED


@contextlib.contextmanager
def load(ledger: Ledger, *arguments: object) -> Iterator[Load]:
    """Two workers with two children each in the middle of many short jobs."""
    dispatch_many(jobs.record.bind(number, 0.008) for number in range(JOBS))
    line = ("--workers", 2, *arguments)
    with start_worker(*line) as one, start_worker(*line) as two:
        # Both are there: one that starts while the server is away gives up.
        wait_until(lambda: len({line.pid for line in ledger.lines("end")}) == 4)
        yield Load(ledger, one, two)


def _asked(question: Callable[[], T]) -> T | None:
    """The answer, or None while the database gives none."""
    try:
        return question()
    except (connection.Database.Error, Error, QueueUnavailable):
        connection.close()
    return None


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request, django_db_setup, django_db_blocker):
    """A server that may be maltreated, with `default` on it."""
    server = request.getfixturevalue(f"{request.param}_server")
    with django_db_blocker.unblock(), elsewhere.own_database(server):
        yield server


@pytest.fixture
def ledger(server):
    with ledgers.kept() as ledger:
        yield ledger


def test_a_server_is_restarted(ledger, server):
    with load(ledger) as run:
        for _ in range(2):
            server.restart()
            run.has_resumed()
        run.is_accounted_for()
        assert all("The store answers again." in worker.output for worker in run.workers)


@pytest.fixture
def durable(django_db_setup, django_db_blocker):
    """PostgreSQL as it is by default: what it has committed outlives it."""
    with PostgreSQL() as server, django_db_blocker.unblock(), elsewhere.own_database(server):
        yield server


def test_a_server_is_killed(durable):
    with ledgers.kept() as ledger, load(ledger) as run:
        for _ in range(2):
            durable.kill9()
            durable.start()
            run.has_resumed()
        run.is_accounted_for()


def test_a_server_stays_away_for_seconds(ledger, server):
    with load(ledger) as run:
        server.halt()
        time.sleep(SECONDS)
        server.start()
        run.has_resumed()
        run.is_accounted_for()


def test_all_sessions_are_killed_every_second(ledger, server):
    dispatch_many(jobs.insert_note.bind(number) for number in range(200))
    with load(ledger) as run:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            _kill_sessions(server)
            time.sleep(1)
        run.has_resumed()
        wait_until(lambda: not QueuedJob.objects.exists(), timeout=60)
        run.is_accounted_for(once=False)
    # Their own connections were killed too: tried again, and each has one row.
    assert sorted(int(note.text) for note in Note.objects.all()) == list(range(200))
    assert not FailedJob.objects.exists()


def _kill_sessions(server: PostgreSQL | MariaDB) -> None:
    if isinstance(server, PostgreSQL):
        server.psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        connection.close()
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE id <> connection_id()")
        for (session,) in cursor.fetchall():
            with contextlib.suppress(Exception):
                cursor.execute(f"KILL {session}")


def test_a_database_is_read_only_for_seconds(ledger, server):
    with as_a_user_without_privileges(server), load(ledger) as run:
        _read_only(server, on=True)
        time.sleep(SECONDS)
        run_before = len(ledger.lines("end"))
        _read_only(server, on=False)
        run.has_resumed()
        run.is_accounted_for()
        assert run_before < JOBS


def _read_only(server: PostgreSQL | MariaDB, *, on: bool) -> None:
    if isinstance(server, PostgreSQL):
        # Sessions that exist are told as well.
        server.psql(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
        server.psql("SELECT pg_reload_conf()")
        return
    with elsewhere.default_is({"USER": server.user, "PASSWORD": server.password}):
        cursor = connections["default"].cursor()
        cursor.execute(f"SET GLOBAL read_only = {int(on)}")


@contextlib.contextmanager
def as_a_user_without_privileges(server: PostgreSQL | MariaDB) -> Iterator[None]:
    """MariaDB lets its administrators write to a server that is read-only."""
    if isinstance(server, PostgreSQL):
        yield
        return
    name = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute("CREATE USER IF NOT EXISTS 'plain'@'%%' IDENTIFIED BY 'plain'", [])
        cursor.execute(f"GRANT ALL PRIVILEGES ON {name}.* TO 'plain'@'%%'", [])
    with elsewhere.default_is({"USER": "plain", "PASSWORD": "plain"}):
        yield


def test_replies_to_commits_are_lost(ledger, server):
    """The worker cannot know what was carried out, and finds out."""
    chance = random.Random(27)
    times = int(os.environ.get("DJQUEUE_TEST_LOST_REPLIES", "15"))
    with Proxy(server.port) as proxy:
        through = {**_settings_here(), "PORT": proxy.port}
        for part in range(FAILING):
            dispatch_many(jobs.record.bind(number, 0.004) for number in range(part, JOBS, FAILING))
            jobs.Tells("raise").using(tries=1).dispatch()
        databases_of_worker = {
            alias: dict(connections[alias].settings_dict) for alias in connections
        }
        databases_of_worker["default"] = through
        for database in databases_of_worker.values():
            database.pop("TEST", None)
        with start_worker("--workers", 2, overrides={"DATABASES": databases_of_worker}) as worker:
            wait_until(lambda: len(ledger.lines("end")) > 20)
            while proxy.lost < times and QueuedJob.objects.exists():
                proxy.lose_replies(0.03)
                time.sleep(chance.uniform(0.1, 0.5))
            assert proxy.lost >= min(times, 5)
            Load(ledger, worker).is_accounted_for()
            wait_until(lambda: len(ledger.lines("failed")) == FAILING, timeout=10)
            assert worker.stop() == 0
    assert set(ledger.count("failed").values()) == {1}
    assert FailedJob.objects.count() == len(ledger.lines("failed")) == FAILING
    assert not Worker.objects.exists()


def _settings_here() -> dict[str, Any]:
    return {key: value for key, value in connection.settings_dict.items() if key != "TEST"}
