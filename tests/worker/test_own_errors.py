"""A worker that cannot go on because of an error of our own leaves its jobs to others."""

from __future__ import annotations

import time

import pytest
from django.db import connection

from djqueue.models import FailedJob, QueuedJob, Worker
from tests.app import jobs
from tests.ledger import Ledger
from tests.support import WorkerProcess, start_worker, wait_until
from tests.worker import buggy


@pytest.fixture(autouse=True)
def buggy_driver(settings):
    place = {"DRIVER": "tests.worker.buggy.BuggyDriver", "RETRY_AFTER": 4}
    settings.DJQUEUE = {"DEFAULT": "store", "CONNECTIONS": {"store": place}}


def _ends_because_of_it(worker: WorkerProcess, ledger: Ledger, how: str) -> None:
    wait_until(lambda: len(ledger.lines("begin")) == 2)
    buggy.show(how)
    assert worker.wait(10) == 1
    assert "The worker cannot go on: ZeroDivisionError: a bug" in worker.output
    assert not worker.children


def test_what_ran_goes_back_as_interrupted_and_the_rest_as_it_was(ledger):
    for number in range(5):
        jobs.sturdy.dispatch(number, 30.0)
    with start_worker("--workers", 2) as worker:
        _ends_because_of_it(worker, ledger, "a bug")
    rows = QueuedJob.objects.order_by("-interruptions", "id")
    assert [(row.interruptions, row.attempts) for row in rows] == [(1, 0)] * 2 + [(0, 0)] * 3
    assert not rows.filter(reserved_by__isnull=False).exists()  # at once, not after a lease
    assert "Its worker ended because of an error." in rows[0].history
    assert not Worker.objects.exists()
    assert not FailedJob.objects.exists()


def test_what_the_store_does_not_take_back_is_left_to_the_lease(ledger):
    for number in range(2):
        jobs.sturdy.dispatch(number, 30.0)
    with start_worker("--workers", 2) as worker:
        _ends_because_of_it(worker, ledger, "away")
        assert "What was over could not be stored." in worker.output
        assert "The ends of 2 jobs could not be stored" in worker.output
    worker_row = Worker.objects.get()  # by which others see when its lease is over
    assert QueuedJob.objects.filter(reserved_by=worker_row.pk).count() == 2


def test_a_table_that_is_away_for_a_moment_ends_no_worker(ledger, settings):
    """As in a migration that replaces it."""
    jobs.record.dispatch(1, 1.5)
    with start_worker("--workers", 2) as worker:
        wait_until(lambda: ledger.lines("begin"))
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE jobs RENAME TO jobs_away")
            wait_until(lambda: "Trying again" in worker.output)
            time.sleep(2)
            cursor.execute("ALTER TABLE jobs_away RENAME TO jobs")
        jobs.record.dispatch(2)
        wait_until(lambda: ledger.details("end") == ["1", "2"], timeout=15)
        wait_until(lambda: not QueuedJob.objects.exists())
        assert worker.stop() == 0
    assert set(ledger.count("begin").values()) == {1}
