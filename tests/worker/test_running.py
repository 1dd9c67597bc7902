"""What a worker does with jobs."""

from __future__ import annotations

import json
import signal
import time

import pytest

from djqueue import dispatch_many, find, queues
from djqueue.models import FailedJob, QueuedJob, Worker
from tests import databases
from tests.app import jobs
from tests.support import run_command, start_worker, wait_until
from tests.worker.waking import free_child_is_woken_beside_a_busy_one


def drain(*arguments: object, **env: str) -> str:
    """Run a worker until nothing is left; what it printed."""
    with start_worker("--stop-when-empty", *arguments, **env) as worker:
        assert worker.wait(60) == 0
        return worker.output


def test_jobs_run_in_order_and_leave_nothing_behind(ledger):
    dispatch_many(jobs.record.bind(number) for number in range(50))
    drain()
    assert ledger.details("end") == [str(number) for number in range(50)]
    assert not QueuedJob.objects.exists()
    assert not Worker.objects.exists()


def test_a_larger_priority_runs_first(ledger):
    for number, priority in enumerate([0, -5, 100, 7]):
        jobs.record.using(priority=priority).dispatch(number)
    drain()
    assert ledger.details("end") == ["2", "3", "0", "1"]


def test_queues_are_asked_strictly_in_order(ledger):
    jobs.record.using(queue="low").dispatch(1)
    jobs.record.using(queue="high").dispatch(2)
    jobs.record.using(queue="elsewhere").dispatch(3)
    output = drain("--queue", "high,low")
    assert ledger.details("end") == ["2", "1"]
    assert "1 job waits on elsewhere" in output


def test_a_better_queue_overtakes_a_long_line_of_short_jobs(ledger):
    dispatch_many(jobs.record.using(queue="low").bind(n, 0.005) for n in range(400))
    with start_worker("--queue", "high,low"):
        wait_until(lambda: len(ledger.lines("end")) > 100)
        before = len(ledger.lines("end"))
        jobs.record.using(queue="high").dispatch(9999)
        wait_until(lambda: "9999" in ledger.details("end"))
        after = ledger.details("end").index("9999")
    assert after - before < 60  # 100 ms of 5 ms jobs, and the time to dispatch it


def test_a_delayed_job_runs_when_it_is_due_and_not_before(ledger):
    with start_worker("--sleep", 30):
        wait_until(lambda: Worker.objects.exists())
        began = time.monotonic()
        jobs.record.using(delay=1.2).dispatch(1)
        wait_until(lambda: ledger.lines("begin"), timeout=5)
        assert 1.1 < ledger.lines("begin")[0].at - began < 3


def test_two_workers_with_two_children_run_each_job_once(ledger):
    dispatch_many(jobs.record.bind(number) for number in range(2000))
    line = ("--workers", 2, "--stop-when-empty")
    with start_worker(*line) as one, start_worker(*line) as two:
        assert one.wait(60) == two.wait(60) == 0
    assert sorted(map(int, ledger.details("end"))) == list(range(2000))
    assert len({line.pid for line in ledger.lines()}) >= 2


def test_a_free_child_is_woken_beside_a_busy_one(ledger):
    # MariaDB has nothing to call with.
    free_child_is_woken_beside_a_busy_one(ledger, 1 if databases.vendor() == "mariadb" else 30)


def test_a_failing_job_is_kept_with_its_traceback_and_every_attempt(ledger):
    id = jobs.boom_thrice.dispatch().id
    drain()
    assert ledger.details("begin") == ["1", "2", "3"]
    row = FailedJob.objects.get()
    assert str(row.uuid) == id
    assert (row.name, row.queue, row.connection) == ("app.boom_thrice", "default", "database")
    assert (row.exception_class, row.exception_message, row.attempts) == ("ValueError", "boom", 3)
    assert 'raise ValueError("boom")' in row.exception
    assert [entry["attempt"] for entry in json.loads(row.history)["attempts"]] == [1, 2, 3]
    assert find(id).status == "failed"


def test_a_retried_job_runs_again_from_its_first_attempt(ledger):
    id = jobs.boom.dispatch().id
    drain()
    run_command("queue_retry", id, check=True)
    assert not FailedJob.objects.exists()
    drain()
    assert str(FailedJob.objects.get().uuid) == id
    assert [line.attempt for line in ledger.lines("begin")] == [1, 1]


def test_failed_is_called_once_after_the_row_is_safe(ledger):
    jobs.Tells("raise").dispatch()
    jobs.Tells("die").dispatch()
    drain()
    told = sorted(ledger.details("failed"))
    assert len(told) == 2
    assert told[0].startswith("ProcessDied: Its process was killed by signal 9")
    assert told[1] == "ValueError: no"


@pytest.mark.anywhere
def test_state_does_not_leak_from_one_job_into_the_next(ledger):
    jobs.changes_state.dispatch()
    jobs.tells_state.dispatch()
    drain()
    assert ledger.details("state") == ["en-us UTC"]


def test_a_transaction_left_open_is_rolled_back_and_reported(ledger):
    jobs.leaves_transaction_open.dispatch()
    jobs.record.dispatch(1)
    output = drain()
    assert "app.leaves_transaction_open left a transaction open" in output
    assert ledger.details("end") == ["1"]
    assert not jobs.Note.objects.exists()


def test_a_paused_queue_is_left_alone_until_it_is_resumed(ledger):
    queues["database"].pause("default")
    jobs.record.dispatch(1)
    with start_worker() as worker:
        wait_until(lambda: "paused" in worker.output)
        time.sleep(0.5)
        assert not ledger.lines()
        queues["database"].resume("default")
        wait_until(lambda: ledger.lines("end"), timeout=5)


def test_a_restart_ends_the_named_worker_within_three_seconds(ledger):
    with start_worker("--sleep", 30) as worker:
        wait_until(lambda: Worker.objects.exists())
        time.sleep(0.5)
        Worker.objects.update(name="alone")
        assert run_command("queue_restart", "other").returncode != 0
        run_command("queue_restart", "alone", check=True)
        assert worker.wait(3) == 0
        assert "queue_restart" in worker.output


@pytest.mark.scenario
@pytest.mark.anywhere
def test_a_worker_whose_process_has_the_number_of_another_one_goes_on(ledger):
    """As in two containers with one host name, and when a process id is used again."""
    with start_worker("--name", "alone") as first, start_worker("--name", "other") as second:
        wait_until(lambda: Worker.objects.count() == 2)
        time.sleep(1.5)  # both have read their controls
        Worker.objects.update(hostname="web-1", pid=1)
        run_command("queue_restart", "alone", check=True)
        assert first.wait(3) == 0
        time.sleep(1.5)
        assert second.is_running


@pytest.mark.anywhere
def test_a_worker_stops_after_so_many_jobs(ledger):
    dispatch_many(jobs.record.bind(number) for number in range(20))
    with start_worker("--max-jobs", 7) as worker:
        assert worker.wait() == 0
    assert len(ledger.lines("end")) == 7
    assert QueuedJob.objects.filter(attempts=0).count() == 13


@pytest.mark.anywhere
def test_once_runs_one_job(ledger):
    dispatch_many(jobs.record.bind(number) for number in range(3))
    with start_worker("--once") as worker:
        assert worker.wait() == 0
    assert ledger.details("end") == ["0"]


@pytest.mark.anywhere
def test_the_output_has_one_line_a_job(ledger):
    id = jobs.record.dispatch(1).id
    lines = [line for line in drain().splitlines() if id in line]
    assert len(lines) == 1
    assert lines[0].split()[2:7] == ["app.record", id, "default", "1", "DONE"]


@pytest.mark.anywhere
def test_json_output_is_one_object_a_line(ledger):
    done, failed = jobs.record.dispatch(1).id, jobs.boom.dispatch().id
    objects = [json.loads(line) for line in drain("--json").splitlines()]
    keys = ["time", "event", "id", "name", "queue", "connection", "attempt", "duration", "error"]
    keys.append("reason")
    assert all(list(entry) == keys for entry in objects)
    events = {entry["id"]: entry["event"] for entry in objects if entry["id"]}
    assert events == {done: "done", failed: "fail"}


def test_a_worker_without_children_runs_jobs_in_its_own_process(ledger):
    jobs.record.dispatch(1)
    jobs.boom.dispatch()
    with start_worker("--workers", 0, "--stop-when-empty") as worker:
        assert worker.wait() == 0
        assert {line.pid for line in ledger.lines()} == {worker.pid}
    assert FailedJob.objects.count() == 1


@pytest.mark.anywhere
def test_children_started_by_exec_run_jobs_as_well(ledger):
    jobs.record.dispatch(1)
    drain(DJQUEUE_START_BY_EXEC="1")
    assert ledger.details("end") == ["1"]


@pytest.mark.anywhere
def test_usr2_pauses_and_cont_resumes(ledger):
    with start_worker() as worker:
        wait_until(lambda: Worker.objects.exists())
        time.sleep(0.3)
        worker.send(signal.SIGUSR2)
        wait_until(lambda: "Paused" in worker.output)
        jobs.record.dispatch(1)
        time.sleep(0.5)
        assert not ledger.lines()
        worker.send(signal.SIGCONT)
        wait_until(lambda: ledger.lines("end"), timeout=5)
