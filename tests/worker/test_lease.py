"""Reservations outlive nobody: what a dead worker held comes back, and a stale one changes
nothing.
"""

from __future__ import annotations

import signal
import time

import pytest
from django.db.models import F

from djqueue import find, queues
from djqueue.models import FailedJob, QueuedJob, Worker
from tests.app import jobs
from tests.app.models import Note
from tests.support import start_worker, wait_until

pytestmark = pytest.mark.scenario

SHORT_LEASE = {"CONNECTIONS": {"database": {"DRIVER": "database", "RETRY_AFTER": 3}}}


@pytest.fixture(autouse=True)
def short_lease(settings):
    settings.DJQUEUE = SHORT_LEASE


def test_the_jobs_of_a_killed_worker_run_elsewhere(ledger):
    jobs.sturdy.dispatch(1, 1.0)
    with start_worker() as first:
        wait_until(lambda: ledger.lines("begin"))
        first.kill()
        with start_worker():
            wait_until(lambda: ledger.lines("end"), timeout=15)
    assert ledger.details("begin") == ["1", "1"]
    # Nobody saw the end of the first run: the attempt keeps its number.
    assert [line.attempt for line in ledger.lines("begin")] == [1, 1]
    assert not QueuedJob.objects.exists()


def test_a_worker_that_slept_through_its_lease_changes_nothing(ledger):
    jobs.sturdy.dispatch(1, 2.0)
    with start_worker() as stale:
        wait_until(lambda: ledger.lines("begin"))
        frozen = [stale.pid, *stale.children]
        for pid in frozen:
            _send(pid, signal.SIGSTOP)
        with start_worker():
            wait_until(lambda: len(ledger.lines("begin")) == 2, timeout=15)
            for pid in reversed(frozen):
                _send(pid, signal.SIGCONT)
            wait_until(lambda: not QueuedJob.objects.exists(), timeout=15)
        # Awake again, it has a new lease and works on.
        jobs.record.dispatch(2)
        wait_until(lambda: "2" in ledger.details("end"), timeout=15)
    assert not FailedJob.objects.exists()


@pytest.mark.parametrize("how", ["return", "raise", "release", "fail"])
def test_a_job_deleted_while_it_runs_does_not_come_back(ledger, how):
    id = jobs.ends_as_told.dispatch(how, 1.0).id
    with start_worker() as worker:
        wait_until(lambda: ledger.lines("begin"))
        assert queues["database"].inspector.remove("default", [id], even_running=True) == 1
        wait_until(lambda: id in worker.output.split("RUNNING", 1)[-1], timeout=10)
        time.sleep(0.3)
        jobs.record.dispatch(1)
        wait_until(lambda: "1" in ledger.details("end"))
        assert "it was taken over, deleted or cancelled" in worker.output
    assert not QueuedJob.objects.exists()
    assert not FailedJob.objects.exists()


def test_a_cancelled_job_sees_it(ledger):
    handle = jobs.runs_until_cancelled.dispatch()
    with start_worker():
        wait_until(lambda: ledger.lines("begin"))
        found = find(handle.id)
        assert found.status == "running"
        found.cancel()
        wait_until(lambda: ledger.lines("cancelled"), timeout=6)
    assert not FailedJob.objects.exists()


def test_a_job_that_was_told_by_mistake_that_it_is_cancelled_is_not_done(ledger):
    """Its row is somebody else's at one look, and our own again when it ends: a dump restored."""
    jobs.lingers_when_cancelled.dispatch(2.0)
    with start_worker() as worker:
        wait_until(lambda: ledger.lines("begin"))
        QueuedJob.objects.update(reservation=F("reservation") + 1)
        wait_until(lambda: ledger.lines("cancelled"), timeout=6)
        QueuedJob.objects.update(reservation=F("reservation") - 1)
        wait_until(lambda: ledger.lines("end"), timeout=6)
        wait_until(lambda: not QueuedJob.objects.exists())
        assert worker.stop() == 0
        assert "runs again: its reservation was reported lost while it ran" in worker.output
        assert worker.output.count("DONE") == 1
    assert [line.attempt for line in ledger.lines("begin")] == [1, 1]


def test_a_job_many_times_as_long_as_the_lease_runs_once(ledger):
    jobs.record.dispatch(1, 8.0)
    with start_worker(), start_worker():
        wait_until(lambda: ledger.lines("end"), timeout=20)
    assert len(ledger.lines("begin")) == 1


def test_a_job_whose_workers_die_too_often_is_given_up(ledger):
    jobs.record.dispatch(1, 30.0)
    for death in range(4):
        with start_worker("--tries", 1) as worker:
            wait_until(lambda: len(ledger.lines("begin")) > death, timeout=20)  # noqa: B023
            worker.kill()
    with start_worker():
        failed = wait_until(FailedJob.objects.first, timeout=20)
    assert failed is not None
    assert failed.exception_class == "djqueue.errors.WorkerLost"
    assert "interrupted 4 times" in failed.exception_message


def test_a_worker_that_was_asleep_judges_nobody_at_first(ledger):
    """After an outage everybody says hello before anybody is declared dead."""
    with start_worker() as sleeper:
        wait_until(Worker.objects.exists)
        time.sleep(2)
        sleeper.send(signal.SIGSTOP)
        jobs.sturdy.dispatch(1, 1.0)
        with start_worker() as dead:
            wait_until(lambda: ledger.lines("begin"), timeout=10)
            dead.kill_everything()
            time.sleep(3.5)
            sleeper.send(signal.SIGCONT)
            awake = time.monotonic()
            wait_until(lambda: len(ledger.lines("begin")) == 2, timeout=10)
            # Two signs of life, a quarter of the lease apart, come first.
            assert time.monotonic() - awake > 0.5


def test_workers_that_stop_when_empty_take_over_what_nobody_can_hold_any_more(
    ledger,
):
    jobs.sturdy.dispatch(1, 1.0)
    with start_worker() as first:
        wait_until(lambda: ledger.lines("begin"))
        first.kill_everything()
    with start_worker("--stop-when-empty") as short:
        assert short.wait(20) == 0
    assert not ledger.lines("end")  # a lease may be over and its worker alive
    time.sleep(6.5)
    with start_worker("--stop-when-empty") as short:
        assert short.wait(20) == 0
    assert ledger.details("end") == ["1"]


def test_a_job_may_lock_the_database_for_longer_than_the_lease(ledger):
    """On SQLite its worker cannot give a sign of life meanwhile, and nobody can take it over."""
    jobs.insert_note.dispatch(1, 4.5)
    with start_worker() as worker, start_worker() as other:
        wait_until(lambda: ledger.lines("begin"))
        time.sleep(5)
        wait_until(lambda: not QueuedJob.objects.exists(), timeout=15)
        assert worker.stop() == other.stop() == 0
    assert len(ledger.lines("begin")) == 1
    assert [note.text for note in Note.objects.all()] == ["1"]


def test_rows_of_workers_that_ended_are_gone(ledger):
    with start_worker() as worker:
        wait_until(Worker.objects.exists)
        worker.stop()
    assert not Worker.objects.exists()


def _send(pid: int, number: signal.Signals) -> None:
    import os

    os.kill(pid, number)
