"""How a commit of somebody else wakes a worker on SQLite."""

from __future__ import annotations

import select
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection

from djqueue.drivers.base import WorkerIdentity
from djqueue.drivers.database.vendors import inotify
from djqueue.drivers.database.vendors.data_version import ChangeWakeup
from djqueue.drivers.database.vendors.inotify import WrittenWakeup
from tests import databases
from tests.faces import database
from tests.support import wait_until


class Dialect:
    """Of a worker's connection, as much as a wake-up knows."""

    def __init__(self, path: Path, mode: str) -> None:
        self._raw = sqlite3.connect(path, isolation_level=None)
        self._raw.execute(f"PRAGMA journal_mode={mode}")
        self._raw.execute("CREATE TABLE notes (text)")
        self.connection = self
        self.settings_dict = {"NAME": path}
        self.asked = 0

    def rows(self, sql: str) -> list[tuple[int]]:
        self.asked += sql == "PRAGMA data_version"
        return self._raw.execute(sql).fetchall()

    def close(self) -> None:
        self._raw.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "queue.sqlite3"


@pytest.fixture(params=["wal", "delete"])
def dialect(request, path):
    with closing(Dialect(path, request.param)) as dialect:
        yield dialect


@pytest.fixture(params=[ChangeWakeup, WrittenWakeup])
def wakeup(request, dialect):
    if request.param is WrittenWakeup:
        _needs_inotify()
    with closing(request.param(dialect)) as wakeup:
        settle(wakeup)
        yield wakeup


@pytest.fixture
def called(dialect):
    _needs_inotify()
    with closing(WrittenWakeup(dialect)) as wakeup:
        settle(wakeup)
        yield wakeup


def _needs_inotify() -> None:
    try:
        inotify._library()
    except OSError:
        pytest.skip("this system does not tell when a file is written to")


def _refuses() -> type:
    """A system where everybody together watches too much already."""

    class Library:
        inotify_init1 = staticmethod(lambda flags: -1)

    return Library


def _knows_no_inotify() -> type:
    raise OSError


def settle(wakeup: ChangeWakeup | WrittenWakeup) -> None:
    """Nothing is new any more."""
    wakeup.arrived()
    wakeup.arrived()
    wait_until(lambda: not wakeup.arrived() and wakeup.look_again > time.monotonic() + 0.05)


def write(path: Path, sql: str = "INSERT INTO notes VALUES ('news')") -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(sql)


def readable(wakeup: WrittenWakeup, seconds: float) -> bool:
    return bool(select.select([wakeup], [], [], seconds)[0])


def test_a_commit_of_somebody_else_is_news_once(wakeup, path):
    for _ in range(3):
        write(path)
        wait_until(wakeup.arrived)
        assert not wakeup.arrived()


def test_its_own_commit_is_no_news(wakeup, dialect):
    dialect.rows("INSERT INTO notes VALUES ('mine')")
    until = time.monotonic() + 0.1
    while time.monotonic() < until:
        assert not wakeup.arrived()


def test_a_commit_calls_at_once(called, path):
    assert not readable(called, 0.05)
    for _ in range(3):
        write(path)
        assert readable(called, 2)
        wait_until(called.arrived)
        settle(called)


def test_a_rollback_is_no_news(called, path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA cache_size = 1")  # what is not committed is written already
        for _ in range(50):
            other.execute("INSERT INTO notes VALUES (?)", ["x" * 5000])
        assert readable(called, 2)
        other.rollback()
    until = time.monotonic() + 0.1
    while time.monotonic() < until:
        assert not called.arrived()


def test_what_was_written_and_not_yet_committed_is_seen_a_moment_later(
    wakeup,
    dialect,
    path,
    monkeypatch,
):
    """A commit is in the file first, and counted when the disk has it."""
    before = dialect.rows("PRAGMA data_version")
    time.sleep(0.01)  # times of files are coarse
    write(path)
    with monkeypatch.context() as patch:
        patch.setattr(dialect, "rows", lambda sql: before)
        assert not wakeup.arrived()
    wait_until(wakeup.arrived, timeout=0.3)


def test_who_writes_all_the_time_does_not_keep_it_awake(called, dialect, path):
    asked, started = dialect.asked, time.monotonic()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        while time.monotonic() < started + 0.3:
            other.execute("INSERT INTO notes VALUES ('news')")
            called.arrived()
    assert dialect.asked - asked <= 2 * (time.monotonic() - started) / inotify.SOON


def test_an_idle_worker_hardly_ever_looks(called, dialect):
    asked, until = dialect.asked, time.monotonic() + 1.2
    while time.monotonic() < until:
        called.arrived()
        time.sleep(0.001)
    assert 1 <= dialect.asked - asked <= 4


def test_a_busy_one_is_not_called(called, path):
    called.set_idle(False)
    write(path)
    called.arrived()  # it was armed still
    settle(called)
    write(path)
    assert not readable(called, 0.05)
    called.set_idle(True)
    assert called.look_again <= time.monotonic()
    settle(called)
    write(path)
    assert readable(called, 2)


def test_a_log_that_is_made_anew_is_followed(tmp_path):
    _needs_inotify()
    path = tmp_path / "queue.sqlite3"
    dialect = Dialect(path, "wal")
    with closing(WrittenWakeup(dialect)) as wakeup:
        settle(wakeup)
        dialect.close()  # the last one takes the log with it
        dialect._raw = sqlite3.connect(path, isolation_level=None)
        dialect.rows("INSERT INTO notes VALUES ('mine')")
        settle(wakeup)
        write(path)
        assert readable(wakeup, 2)
    dialect.close()


@pytest.mark.skipif(databases.vendor() != "sqlite", reason="for SQLite")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("library", [_refuses, _knows_no_inotify])
def test_where_nothing_can_be_watched_it_is_polled(library, monkeypatch):
    monkeypatch.setattr(inotify, "_library", library)
    driver = database()
    driver.join(WorkerIdentity("worker", "host", 1, ("default",), 20.0))
    wakeup = driver.watch(["default"])
    assert wakeup is not None
    assert wakeup.fileno() is None
    wait_until(lambda: not wakeup.arrived())
    write(Path(connection.settings_dict["NAME"]), "UPDATE djqueue_workers SET idle = NOT idle")
    wait_until(wakeup.arrived)
    driver.leave()
