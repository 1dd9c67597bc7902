"""Results of jobs whose store is not the database of the results."""

import signal

import pytest
from django.db import transaction

from djqueue import dispatch_many, queues
from djqueue.errors import JobFailed
from djqueue.models import JobResult, Outbox
from djqueue.operations.retrying import retry
from tests import dying
from tests.app import keeping
from tests.support import start_worker, wait_until
from tests.torture import results
from tests.torture.sizes import JOBS, KILLS, SEED, size

pytestmark = pytest.mark.usefixtures("ledger")


def test_each_end_is_in_its_row(store):
    done, failed = keeping.kept.dispatch(3), keeping.never_kept.dispatch()
    assert done.status == "waiting"
    with start_worker("store", "--tries", "1"):
        assert done.result(timeout=30) == 3
        wait_until(lambda: failed.status == "failed")
        with pytest.raises(JobFailed, match="no"):
            failed.result()
        assert retry().moved == 1
        wait_until(lambda: failed.status == "failed")
    assert not Outbox.objects.exists()


def test_a_job_and_its_row_are_one_transaction(store):
    with transaction.atomic():
        keeping.kept.dispatch(1)
        transaction.set_rollback(True)
    assert not JobResult.objects.exists()
    assert not Outbox.objects.exists()
    with transaction.atomic():
        dispatched = keeping.kept.dispatch(2)
        dispatch_many([keeping.kept.bind(n) for n in range(3)])
        assert JobResult.objects.count() == Outbox.objects.count() == 4
        assert dispatched.created is None
    assert dispatched.created
    with start_worker("store"):
        assert dispatched.result(timeout=30) == 2
        wait_until(lambda: JobResult.objects.filter(status="done").count() == 4)


def test_what_a_cancelled_job_would_return_is_an_error(store):
    dispatched = keeping.kept.dispatch(1)
    assert dispatched.cancel()
    with pytest.raises(JobFailed, match="cancelled"):
        dispatched.result(timeout=1)


def test_progress_is_seen_while_the_job_runs(store, tmp_path):
    until = tmp_path / "go"
    dispatched = keeping.counts_up.dispatch(str(until), 1000)
    with start_worker("store"):
        wait_until(lambda: (dispatched.progress or (0,))[0] == 1000)
        assert dispatched.status == "running"
        until.touch()
        assert dispatched.result(timeout=20) == 1000


@pytest.mark.scenario
def test_no_result_is_missing_when_processes_are_killed(store):
    many = size(JOBS, 60 if store == "sqs" else 200)
    print(results.run(jobs=many, kills=size(KILLS, 4), seed=size(SEED, 4), connection="store"))


@pytest.mark.parametrize("store", ["redis"], indirect=True)
def test_a_job_that_has_ended_in_sql_only_is_not_run_again(store, settings, ledger, tmp_path):
    """Its worker is killed between the two."""
    place = settings.DJQUEUE["CONNECTIONS"]["store"]
    settings.DJQUEUE = {
        "DEFAULT": "store",
        "CONNECTIONS": {"store": {**place, "DRIVER": "tests.dying.DyingDriver"}},
    }
    dispatched = keeping.sturdy_kept.dispatch(7)
    file = tmp_path / "die"
    file.touch()
    with start_worker("store", **{dying.FILE: str(file)}) as worker:
        assert worker.wait() == -signal.SIGKILL
    assert (dispatched.result(timeout=1), queues["store"].size()) == (7, 1)
    with start_worker("store", **{dying.FILE: str(file)}):
        wait_until(lambda: queues["store"].size() == 0)
    assert len(ledger.lines("begin")) == 1
    assert dispatched.result() == 7
