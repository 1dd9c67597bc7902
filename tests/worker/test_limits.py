"""Jobs that do not end by themselves, or end their process: each is stopped, with the reason on
record, and its neighbours do not notice.
"""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from djqueue import dispatch_many
from djqueue.models import FailedJob
from tests.app import jobs
from tests.ledger import Ledger
from tests.support import start_worker, wait_until

pytestmark = pytest.mark.anywhere

TIMEOUT, GRACE = 1.0, 1.0


def run_among_neighbours(ledger: Ledger, job: Any, *arguments: object) -> tuple[FailedJob, str]:
    """Run `job` in the middle of short ones; its failed row, and what the worker printed."""
    dispatch_many(jobs.record.bind(number) for number in range(10))
    job.dispatch()
    dispatch_many(jobs.record.bind(number) for number in range(10, 20))
    with start_worker("--stop-when-empty", "--grace", GRACE, *arguments) as worker:
        assert worker.wait(40) == 0
        output = worker.output
    assert sorted(map(int, ledger.details("end"))) == list(range(20))
    assert all(count == 1 for count in ledger.count("end").values())
    return FailedJob.objects.get(), output


@pytest.mark.parametrize(
    "job", [jobs.sleeps_on, jobs.swallows, jobs.loops_in_c, jobs.swallows_everything]
)
def test_a_job_that_does_not_end_is_stopped(ledger, job):
    began = time.monotonic()
    failed, _ = run_among_neighbours(ledger, job)
    # A second more is for the dump, and some for a busy machine.
    assert time.monotonic() - began < TIMEOUT + GRACE + 8
    assert failed.exception_class == "djqueue.errors.TimeoutExceeded"
    assert "ran longer than its timeout of 1 s" in failed.exception_message
    assert "jobs.py" in failed.exception  # where it was


def test_a_job_in_a_c_call_leaves_a_dump_of_its_stack(ledger):
    failed, _ = run_among_neighbours(ledger, jobs.loops_in_c)
    assert "was killed after" in failed.exception_message
    assert "in loops_in_c" in failed.exception


def test_a_job_that_kills_its_process_uses_its_tries(ledger):
    failed, _ = run_among_neighbours(ledger, jobs.kills_itself)
    assert ledger.details("begin").count("3") >= 1
    assert failed.exception_class == "djqueue.errors.ProcessDied"
    assert "killed by signal 9" in failed.exception_message
    assert failed.attempts == 3
    kinds = [entry["kind"] for entry in json.loads(failed.history)["attempts"]]
    assert kinds == ["died"] * 3


def test_a_crash_leaves_a_dump_of_its_stack(ledger):
    jobs.kills_itself.using(tries=1).dispatch(int(signal.SIGSEGV))
    with start_worker("--stop-when-empty") as worker:
        assert worker.wait() == 0
    failed = FailedJob.objects.get()
    assert "signal 11" in failed.exception_message
    assert "in kills_itself" in failed.exception


def test_a_job_that_ends_its_process_is_a_failure_with_the_exit_code(ledger):
    failed, _ = run_among_neighbours(ledger, jobs.exits)
    assert "exit code 3" in failed.exception_message


def test_a_job_that_allocates_without_end_is_killed(ledger):
    failed, _ = run_among_neighbours(ledger, jobs.allocates_without_end, "--memory-kill", 200)
    assert failed.exception_class == "djqueue.errors.MemoryExceeded"
    assert "above --memory-kill 200" in failed.exception_message


def test_a_child_that_stays_large_ends_the_worker_with_12(ledger):
    jobs.keeps_memory.dispatch(150)
    jobs.record.using(delay=600).dispatch(1)
    with start_worker("--memory", 150) as worker:
        assert worker.wait(20) == 12
        assert "above --memory 150" in worker.output


def test_terminate_lets_the_current_job_finish(ledger):
    jobs.record.dispatch(1, 1.0)
    jobs.record.dispatch(2)
    with start_worker() as worker:
        wait_until(lambda: ledger.lines("begin"))
        worker.send(signal.SIGTERM)
        assert worker.wait(10) == 0
        assert "Finishing app.record (SIGTERM)" in worker.output
    assert ledger.details("end") == ["1"]


def test_what_is_still_running_after_the_grace_is_handed_back(ledger):
    from djqueue.models import QueuedJob

    jobs.record.dispatch(1, 60.0)
    with start_worker("--grace", 1) as worker:
        wait_until(lambda: ledger.lines("begin"))
        began = time.monotonic()
        worker.send(signal.SIGTERM)
        assert worker.wait(10) == 0
        assert time.monotonic() - began < 1 + 2
    row = QueuedJob.objects.get()
    assert (row.attempts, row.interruptions, row.reserved_by, row.line) == (0, 1, None, 0)


def test_a_second_signal_stops_at_once(ledger):
    from djqueue.models import QueuedJob

    jobs.record.dispatch(1, 60.0)
    with start_worker() as worker:
        wait_until(lambda: ledger.lines("begin"))
        worker.send(signal.SIGINT)
        wait_until(lambda: "Ctrl-C again" in worker.output)
        worker.send(signal.SIGINT)
        assert worker.wait(5) == 0
    assert QueuedJob.objects.get().interruptions == 1


def test_children_die_with_their_parent(ledger):
    jobs.record.dispatch(1, 60.0)
    with start_worker() as worker:
        wait_until(lambda: ledger.lines("begin"))
        children = worker.children
        assert children
        worker.kill()
        wait_until(lambda: not any(_alive(pid) for pid in children), timeout=2)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
