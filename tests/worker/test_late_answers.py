"""PostgreSQL: the answer to an exchange comes late; the worker sees to its children meanwhile."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import pytest
from django.db import connection, transaction

from djqueue.models import FailedJob, QueuedJob, Worker
from tests.app import jobs
from tests.ledger import Ledger
from tests.support import WorkerProcess, start_worker, wait_until

pytestmark = [pytest.mark.scenario, pytest.mark.django_db(transaction=True), pytest.mark.postgresql]


@contextlib.contextmanager
def late(ledger: Ledger) -> Iterator[None]:
    """Job 1 is over, and in this block the exchange that says so gets no answer."""
    wait_until(lambda: "1" in ledger.details("begin"))
    with transaction.atomic():
        rows = QueuedJob.objects.select_for_update(skip_locked=True)
        assert rows.get(reserved_by__isnull=False, name="app.record")
        wait_until(lambda: "1" in ledger.details("end"))
        wait_until(_somebody_waits)
        yield


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
        return cursor.fetchone() is not None


def _child_of(worker: WorkerProcess, ledger: Ledger, detail: str) -> int:
    lines = wait_until(lambda: [one for one in ledger.lines("begin") if one.detail == detail])
    assert lines[0].pid in worker.children
    return int(lines[0].pid)


def test_a_job_is_stopped_in_time(ledger):
    jobs.record.dispatch(1, 1.0)
    jobs.loops_in_c.dispatch()
    with start_worker("--workers", 2, "--grace", 1) as worker, late(ledger):
        wait_until(lambda: len(ledger.lines("begin")) == 2)
        before = set(worker.children)
        wait_until(lambda: before - set(worker.children), timeout=8)  # another one may be there
    assert FailedJob.objects.get().exception_class == "djqueue.errors.TimeoutExceeded"


def test_what_is_over_meanwhile_is_stored_afterwards(ledger):
    jobs.record.dispatch(1, 1.0)
    jobs.sturdy.dispatch(2, 1.5)
    with start_worker("--workers", 2, "--stop-when-empty") as worker:
        with late(ledger):
            wait_until(lambda: "2" in ledger.details("end"))
            assert QueuedJob.objects.count() == 2
        assert worker.wait() == 0
    assert not QueuedJob.objects.exists()
    assert sorted(ledger.details("begin")) == ["1", "2"]


def test_a_queue_is_not_empty_while_a_retry_is_untold(ledger):
    jobs.record.dispatch(1, 1.0)
    jobs.ends_as_told.using(backoff=0).dispatch("raise", 1.5)
    with start_worker("--workers", 2, "--stop-when-empty") as worker:
        with late(ledger):
            wait_until(lambda: "RELEASED" in worker.output)
        assert worker.wait() == 0
    assert not QueuedJob.objects.exists()
    assert FailedJob.objects.get().attempts == 2


def test_what_comes_after_the_signal_to_stop_is_given_back(ledger):
    jobs.record.dispatch(1, 1.0)
    with start_worker() as worker:
        wait_until(lambda: ledger.lines("begin"))
        jobs.sturdy.dispatch(2)
        with late(ledger):
            worker.send(signal.SIGTERM)
            wait_until(lambda: "Stopping" in worker.output)
        assert worker.wait(10) == 0
    assert ledger.details("begin") == ["1"]
    row = QueuedJob.objects.get()
    assert (row.attempts, row.reserved_by) == (0, None)
    assert row.reservation == 2  # it had come


SHORT_LEASE = {"CONNECTIONS": {"database": {"DRIVER": "database", "RETRY_AFTER": 3}}}


def test_the_sign_of_life_does_not_wait_behind_an_answer(ledger, settings):
    settings.DJQUEUE = SHORT_LEASE
    jobs.record.dispatch(1, 1.0)
    jobs.sturdy.dispatch(2, 7.0)
    with start_worker("--workers", 2, "--stop-when-empty") as worker:
        with late(ledger):
            wait_until(lambda: "2" in ledger.details("end"), timeout=15)
        assert worker.wait(15) == 0
    assert sorted(ledger.details("begin")) == ["1", "2"]
    assert not QueuedJob.objects.exists()


def test_a_lease_that_ends_without_an_answer_ends_the_jobs(ledger, settings):
    settings.DJQUEUE = SHORT_LEASE
    jobs.sturdy.dispatch(2, 20.0)
    with start_worker("--workers", 2) as worker:
        child = _child_of(worker, ledger, "2")
        with transaction.atomic():
            assert Worker.objects.select_for_update().get()
            wait_until(lambda: child not in worker.children, timeout=8)
        wait_until(lambda: len(ledger.lines("begin")) == 2)
        assert worker.is_running
