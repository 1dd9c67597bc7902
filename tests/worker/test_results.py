"""Results of jobs that workers run, and the progress that they see on the way."""

import os
import signal

import pytest

from djqueue import find
from djqueue.errors import JobFailed
from djqueue.operations.retrying import retry
from djqueue.results import rows
from tests.app import keeping
from tests.support import start_worker, wait_until
from tests.torture import results
from tests.torture.sizes import JOBS, KILLS, SEED, size

pytestmark = pytest.mark.usefixtures("ledger")


def test_progress_is_seen_while_the_job_runs(tmp_path):
    until = tmp_path / "go"
    dispatched = keeping.counts_up.dispatch(str(until), 1000)
    with start_worker("--stop-when-empty") as worker:
        wait_until(lambda: (dispatched.progress or (0,))[0] == 1000)
        assert dispatched.progress == (1000, 1000, 100, "step 1000")
        assert dispatched.status == "running"
        until.touch()
        assert dispatched.result(timeout=20) == 1000
        assert worker.wait() == 0
    assert find(dispatched.id).status == "done"


def test_every_job_has_its_own_result():
    several = [keeping.kept.dispatch(n) for n in range(50)]
    several += [keeping.kept_atomic.dispatch(n) for n in range(50, 60)]
    with start_worker("--workers", "2", "--stop-when-empty") as worker:
        assert worker.wait(60) == 0
    assert [each.result(timeout=1) for each in several] == list(range(60))
    assert several[-1].progress == (59, 59, 100, "")


def test_a_job_that_ends_its_process_fails_with_the_last_that_it_said():
    dispatched = keeping.dies.dispatch()
    with start_worker("--stop-when-empty", "--tries", "1") as worker:
        assert worker.wait(60) == 0
    with pytest.raises(JobFailed, match="ProcessDied"):
        dispatched.result(timeout=1)
    assert dispatched.progress == (7, 9, 77, "dying")


def test_a_worker_without_children_keeps_results_too():
    done, failed = keeping.kept_atomic.dispatch(3), keeping.never_kept.dispatch()
    with start_worker("--workers", "0", "--stop-when-empty") as worker:
        assert worker.wait(60) == 0
    assert (done.result(), done.progress) == (3, (3, 3, 100, ""))
    assert failed.status == "failed"
    retry()
    assert failed.status == "waiting"


@pytest.mark.scenario
def test_a_killed_child_leaves_a_job_that_gets_its_result_later(tmp_path, ledger):
    until = tmp_path / "go"
    dispatched = keeping.counts_up.using(tries=3).dispatch(str(until), 5)
    with start_worker("--stop-when-empty") as worker:
        (line,) = wait_until(lambda: ledger.lines("counted"))
        os.kill(line.pid, signal.SIGKILL)
        wait_until(lambda: len(ledger.lines("counted")) == 2)
        until.touch()
        assert worker.wait(60) == 0
    assert dispatched.result() == 5


def test_the_statement_of_a_worker_is_about_many_jobs():
    one, two = keeping.kept.dispatch(1), keeping.kept.dispatch(2)
    news = {one.id: (1.0, 4.0, "é"), two.id: (0.5, 0.0, "")}
    assert rows.reported_unless_locked("default", news)
    assert (one.progress, two.progress) == ((1, 4, 25, "é"), (0.5, 0, 100, ""))


@pytest.mark.scenario
def test_no_result_is_missing_when_processes_are_killed():
    print(results.run(jobs=size(JOBS, 300), kills=size(KILLS, 6), seed=size(SEED, 4)))
