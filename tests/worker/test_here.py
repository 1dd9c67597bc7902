"""Workers without children keep their lease, hand back what is cut short, and take over."""

from __future__ import annotations

import signal
import time

import pytest

from djqueue.models import QueuedJob, Worker
from tests.app import jobs
from tests.support import start_worker, wait_until

HERE = ("--workers", 0, "--sleep", 0.2)


@pytest.fixture(autouse=True)
def short_lease(settings):
    place = {"DRIVER": "database", "RETRY_AFTER": 3}
    settings.DJQUEUE = {"CONNECTIONS": {"database": place}}


def test_a_job_longer_than_the_lease_runs_once(ledger):
    jobs.record.dispatch(1, 7.0)
    with start_worker(*HERE) as here:
        wait_until(lambda: ledger.lines("begin"))
        with start_worker() as other:
            wait_until(lambda: ledger.lines("end"), timeout=20)
            wait_until(lambda: not QueuedJob.objects.exists())
            assert other.stop() == 0
        here.send(signal.SIGINT)
        assert here.wait(10) == 0
    assert len(ledger.lines("begin")) == 1
    assert not Worker.objects.exists()


def test_what_ctrl_c_cuts_short_goes_back_as_interrupted(ledger):
    jobs.sturdy.dispatch(1, 30.0)
    with start_worker(*HERE) as here:
        wait_until(lambda: ledger.lines("begin"))
        here.send(signal.SIGINT)
        assert here.wait(10) == 0
        assert "interrupted; it runs again" in here.output
    row = QueuedJob.objects.get()
    assert (row.reserved_at, row.attempts, row.interruptions) == (None, 0, 1)


def test_what_a_dead_worker_held_is_taken_over(ledger):
    jobs.sturdy.dispatch(1, 1.0)
    with start_worker() as first:
        wait_until(lambda: ledger.lines("begin"))
        first.kill_everything()
    began = time.monotonic()
    with start_worker(*HERE):
        wait_until(lambda: ledger.lines("end"), timeout=20)
    assert time.monotonic() - began < 15
