"""SQLite: somebody holds the write lock for longer than anybody waits."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator

import pytest
from django.db import connection

from djqueue import dispatch_many
from djqueue.models import FailedJob, QueuedJob
from tests import databases
from tests.app import jobs
from tests.faces import database
from tests.support import start_worker, wait_until

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(databases.vendor() != "sqlite", reason="others have no such lock"),
]
SHORT_LEASE = {"CONNECTIONS": {"database": {"DRIVER": "database", "RETRY_AFTER": 3}}}


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Nobody else writes to the database in this block."""
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None, timeout=10)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_a_worker_outlives_a_lock_that_is_held_for_long(ledger):
    dispatch_many(jobs.record.bind(number, 0.005) for number in range(600))
    with start_worker("--workers", 2) as worker:
        wait_until(lambda: len(ledger.lines("end")) > 30)
        with locked():
            time.sleep(7)
        before = len(ledger.lines("end"))
        released = time.monotonic()
        wait_until(lambda: len(ledger.lines("end")) > before, timeout=10)
        assert time.monotonic() - released < 5
        wait_until(lambda: not QueuedJob.objects.exists(), timeout=30)
        assert worker.is_running
        assert worker.output.count("Trying again until it answers") <= 3
    assert sorted(map(int, ledger.details("end"))) == list(range(600))
    assert not FailedJob.objects.exists()


def test_a_lease_that_runs_out_meanwhile_stops_no_job(ledger, settings):
    """Nobody could take it over: no other worker can write either."""
    settings.DJQUEUE = SHORT_LEASE
    jobs.sturdy.dispatch(1, 5.0)
    with start_worker() as worker, start_worker():
        wait_until(lambda: ledger.lines("begin"))
        with locked():
            wait_until(lambda: ledger.lines("end"), timeout=15)
        wait_until(lambda: not QueuedJob.objects.exists(), timeout=20)
        assert worker.is_running
    assert len(ledger.lines("begin")) == 1


def test_a_dispatch_into_a_locked_database_says_so(transactional_db):
    from djqueue.errors import QueueUnavailable

    connection.ensure_connection()
    connection.connection.execute("PRAGMA busy_timeout = 100")
    try:
        with locked(), pytest.raises(QueueUnavailable, match="database is locked"):
            jobs.record.dispatch(1)
    finally:
        connection.close()
    assert not QueuedJob.objects.exists()


def test_the_driver_tells_a_lock_from_an_outage(transactional_db):
    from django.db import connections

    from djqueue.drivers.base import WorkerIdentity
    from djqueue.errors import QueueUnavailable

    driver = database()
    driver.patience = 0.3
    driver.join(WorkerIdentity("worker", "host", 1, ("default",), 20.0))
    begun = time.monotonic()
    with locked(), pytest.raises(QueueUnavailable) as raised:
        driver.extend([])
    assert raised.value.locked
    assert time.monotonic() - begun < 1
    assert driver.extend([]) == set()
    driver.close()
    del connections["default"]
