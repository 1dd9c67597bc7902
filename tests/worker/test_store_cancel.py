"""A cancelled job, on every store beside the database."""

from __future__ import annotations

from djqueue import find, queues
from djqueue.models import Control, FailedJob
from djqueue.operations.verbs import stopping
from tests.app import jobs
from tests.support import start_worker, wait_until


def test_a_cancelled_job_that_waits_never_runs(store, ledger):
    cancelled, kept = jobs.record.dispatch(1), jobs.record.dispatch(2)
    assert cancelled.cancel() is True
    assert cancelled.cancel() is False, "once is enough"
    with start_worker("--stop-when-empty") as worker:
        assert worker.wait(60) == 0, worker.output
    assert ledger.details("begin") == ["2"]
    assert kept.cancel() is (store == "beanstalkd"), "it is over; beanstalkd has no row of it"
    assert queues["store"].is_empty()


def test_a_cancelled_job_that_runs_hears_of_it_and_its_end_is_ignored(store, ledger):
    job = jobs.fails_when_cancelled.dispatch()
    with start_worker("--sleep", 0.2) as worker:
        wait_until(lambda: ledger.lines("begin"), what=worker.output, timeout=30)
        assert find(job.id, "store").cancel() is True
        wait_until(lambda: ledger.lines("cancelled"), what=worker.output, timeout=30)
        jobs.record.dispatch(1)
        wait_until(lambda: ledger.details("end") == ["1"], what=worker.output, timeout=30)
    assert not FailedJob.objects.exists()
    assert len(ledger.lines("cancelled")) == 1, "nobody tries it again"


def test_a_running_job_is_stopped(store, ledger):
    stopped = jobs.record.dispatch(1, 60)
    with start_worker("--sleep", 0.2) as worker:
        wait_until(lambda: ledger.details("begin") == ["1"], what=worker.output, timeout=30)
        (target,) = stopping.choose([stopped.id]).targets
        result = stopping.stop([target], wait=30)
        assert result.changed == [target], [each.why for each in result.left]
        jobs.record.dispatch(2)
        wait_until(lambda: ledger.details("end") == ["2"], what=worker.output, timeout=30)
        wait_until(queues["store"].is_empty, what=worker.output, timeout=30)
    assert not Control.objects.exists()
    assert not FailedJob.objects.exists()
