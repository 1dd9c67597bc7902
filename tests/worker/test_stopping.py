"""Stopping a job that runs, on the database."""

from __future__ import annotations

from djqueue import chain
from djqueue.models import Control, FailedJob, Outbox, QueuedJob
from djqueue.operations import results
from djqueue.operations.reports.workers import workers
from djqueue.operations.verbs import stopping
from tests.app import jobs, untidy
from tests.support import start_worker, wait_until


def test_a_job_is_stopped_what_waits_behind_it_goes_and_others_go_on(ledger, transactional_db):
    stuck = chain([untidy.never_interrupted.bind(), jobs.record.bind(2)]).dispatch()
    with start_worker("--sleep", 0.2) as worker:
        wait_until(lambda: ledger.lines("begin"), what=worker.output)
        (shown,) = wait_until(lambda: [each for each in workers() if each.running])
        assert (shown.state, shown.running[0].id) == ("running", stuck.id)
        assert shown.memory > 10 << 20
        assert shown.version
        other = jobs.record.dispatch(3)
        found = stopping.choose([stuck.id[-8:], other.id])
        result = stopping.stop(found.targets[:1], by="anna", wait=30)
        assert [target.id for target in result.changed] == [stuck.id]
        wait_until(lambda: ledger.details("end") == ["3"], what=worker.output)
        wait_until(lambda: not QueuedJob.objects.exists())
        told = wait_until(lambda: ledger.details("cancelled"), what=worker.output)
        assert f"{stuck.id}  default  1  CANCELLED" in worker.output
    assert told == ["['never_interrupted', 'database', 1, {}]"], "by the worker, once"
    assert len(ledger.lines("begin")) == 2
    assert not Outbox.objects.exists()
    assert not FailedJob.objects.exists()
    assert not Control.objects.exists()


def test_a_job_that_does_not_run_is_left_alone_and_the_answer_says_why(transactional_db):
    job = jobs.record.dispatch(1)
    (target,) = stopping.choose([job.id]).targets
    (left,) = stopping.stop([target]).left
    assert (left.reason, left.why) == (
        results.NOT_RUNNING,
        "it is not running (now: Waiting).",
    )
    job.cancel()
    assert stopping.stop([target]).left[0].reason is results.FINISHED
    assert not Control.objects.exists()
    assert stopping.choose(["aaaaaaaa"]).unknown
