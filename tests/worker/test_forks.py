"""A worker keeps its own connection through many forks, and a child never touches it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from django.db import connection, connections

from djqueue import dispatch_many
from djqueue.conf import settings
from djqueue.drivers import make_driver
from djqueue.drivers.base import Driver, Settlement, WorkerIdentity
from djqueue.drivers.database import DatabaseDriver
from djqueue.drivers.database.session import DatabaseSession
from djqueue.models import FailedJob, QueuedJob
from djqueue.runner.rules import Rules
from djqueue.worker.children.children import Children
from djqueue.worker.children.process import Process, Stopped
from djqueue.worker.children.settings import ChildSettings
from tests import databases, elsewhere
from tests import ledger as ledgers
from tests.app import jobs
from tests.app.models import Note
from tests.support import start_worker, wait_until

FORKS = int(os.environ.get("DJQUEUE_TEST_FORKS", "100"))


@pytest.fixture
def over_tls(django_db_setup, django_db_blocker, postgresql_tls_server):
    """`default` is a database on a server that takes encrypted connections only."""
    with django_db_blocker.unblock(), elsewhere.own_database(postgresql_tls_server):
        yield


@pytest.fixture
def tls_ledger(over_tls):
    with ledgers.kept() as ledger:
        yield ledger


class Parent:
    """The part of a worker that forks: a driver that has joined, and one child."""

    def __init__(self) -> None:
        self._django = connections["default"]
        self.driver: Driver = make_driver(settings().connection("database"))
        own = ChildSettings("database", "test", ("default",), Rules(), 0)
        self.children = Children(1, own, self.driver)
        self.children.start_warden()
        worker = WorkerIdentity("test", "host", os.getpid(), ("default",), 20.0)
        self.session = self.driver.session(worker)
        self.session.join()

    def born(self) -> Process:
        (process,) = self.children.start_missing(time.monotonic() + 60)
        return process

    def run_one(self, process: Process) -> None:
        """Take the next job from the store, have the child run it, and settle it."""
        (reservation,) = self.session.exchange([], ["default"], 1).reservations
        process.hand_over([reservation])
        (outcome,) = wait_until(lambda: [outcome for _, outcome, _ in process.reports()])
        assert outcome is not None
        assert outcome.error is None, outcome.error
        assert self.session.settle([Settlement(reservation)]) == set()

    def reap(self, process: Process) -> None:
        wait_until(lambda: list(self.children.exits()), every=0.001)
        process.close()
        self.session.extend([])

    def close(self) -> None:
        self.children.close()
        self.session.leave()
        self.driver.close()
        connections["default"] = self._django


@pytest.fixture
def parent():
    parent = Parent()
    yield parent
    parent.close()


def test_a_connection_over_tls_survives_many_forks(over_tls, tls_ledger, parent):
    """Every tenth child uses a database itself; half of the children are killed, half end."""
    working = range(0, FORKS, 10)
    dispatch_many(jobs.write_note.bind(number) for number in working)
    session = _session()
    assert session[1] is True
    for number in range(FORKS):
        process = parent.born()
        if number in working:
            parent.run_one(process)
        if number % 2:
            process.kill(Stopped("the test"))
        else:
            process.ends.close()
        parent.reap(process)
    assert _session() == session
    assert sorted(int(note.text) for note in Note.objects.all()) == list(working)
    assert not QueuedJob.objects.exists()


def _session() -> tuple[int, bool]:
    """Which of the server's processes we speak to, and whether it is encrypted."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        pid, ssl = cursor.fetchone()
    return pid, ssl


class WithAnother(DatabaseDriver):
    """Its worker has a second database open."""

    def session(self, worker: WorkerIdentity | None = None) -> DatabaseSession:
        return WithAnotherSession(self._calls, self.settings, worker)


class WithAnotherSession(DatabaseSession):
    def join(self) -> None:
        connections["other"].ensure_connection()
        super().join()


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_child_has_none_of_its_parents_files_and_sockets(settings, ledger):
    driver = f"{__name__}.{WithAnother.__name__}"
    settings.DJQUEUE = {"CONNECTIONS": {"database": {"DRIVER": driver}}}
    jobs.record.dispatch(1)
    with start_worker() as worker:
        wait_until(lambda: ledger.lines("end"))
        ours = _sockets_and_databases(worker.pid)
        assert ours
        (first,) = worker.runners
        os.kill(first, signal.SIGKILL)
        # Born while the connections are open, and without work of its own.
        (child,) = wait_until(lambda: [pid for pid in worker.runners if pid != first])
        wait_until(lambda: not (_sockets_and_databases(child) & ours), what=str(ours))


def _sockets_and_databases(pid: int) -> set[str]:
    """What a process has open of the test's databases: sockets by number, files by name, and what
    tells of writes to them.
    """
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:") or ".sqlite3" in target or "inotify" in target:
            found.add(target)
    return found


def test_a_worker_over_tls_replaces_child_after_child(tls_ledger):
    dispatch_many(jobs.exits.using(tries=1).bind() for _ in range(3))
    dispatch_many(jobs.record.bind(number) for number in range(20))
    with start_worker("--stop-when-empty") as worker:
        assert worker.wait(60) == 0
        assert "is unavailable" not in worker.output
    assert len(tls_ledger.lines("end")) == 20
    assert FailedJob.objects.count() == 3


@pytest.mark.postgresql
def test_a_worker_takes_a_pool_in_its_settings(ledger):
    dispatch_many(jobs.write_note.bind(number) for number in range(30))
    jobs.exits.using(tries=1).dispatch()
    dispatch_many(jobs.write_note.bind(number) for number in range(30, 60))
    pooled = databases.databases()
    for alias, database in pooled.items():
        database["NAME"] = connections[alias].settings_dict["NAME"]
        database["OPTIONS"] = {"pool": True}
        del database["TEST"]
    with start_worker("--workers", 2, overrides={"DATABASES": pooled}) as worker:
        wait_until(lambda: not QueuedJob.objects.exists(), timeout=30)
        # The pool's threads would be lost in a child, and could be caught holding a lock.
        assert _threads(worker.pid) == 1
        assert worker.stop() == 0
    assert sorted(int(note.text) for note in Note.objects.all()) == list(range(60))


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python warns of such forks from 3.12 on")
@pytest.mark.parametrize("how", ["fork", "exec", "here"])
def test_nothing_in_a_worker_warns(ledger, how):
    dispatch_many(jobs.write_note.bind(number) for number in range(5))
    jobs.boom.dispatch()
    jobs.sleeps_on.using(tries=1).dispatch()
    env = {"PYTHONWARNINGS": "error"}
    if how == "exec":
        env["DJQUEUE_START_BY_EXEC"] = "1"
    more = ["--workers", 0] if how == "here" else []
    if how == "here":
        QueuedJob.objects.filter(name="app.sleeps_on").delete()
    with start_worker("--stop-when-empty", *more, **env) as worker:
        assert worker.wait(60) == 0
        assert "Warning" not in worker.output
    assert Note.objects.count() == 5
    assert set(FailedJob.objects.values_list("exception_class", flat=True)) <= {
        "ValueError",
        "djqueue.errors.TimeoutExceeded",
    }
