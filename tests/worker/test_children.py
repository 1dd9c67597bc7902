"""What children say and print, how they end, and that nothing a job does confuses its worker."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from djqueue import dispatch_many
from djqueue.models import FailedJob, QueuedJob
from tests.app import jobs, programs, talking
from tests.stillborn import HOW
from tests.support import ROOT, environment, start_worker, wait_until

pytestmark = pytest.mark.anywhere


def test_what_jobs_print_is_seen_at_once(ledger):
    talking.prints.dispatch(1, 30.0)
    with start_worker("--workers", 1) as worker:
        wait_until(lambda: "said 1" in worker.output)  # while it runs, into a file
        assert "FAIL" not in worker.output
        os.kill(worker.runners[0], signal.SIGKILL)
        wait_until(lambda: "FAIL" in worker.output)
        talking.prints.dispatch(2)
        wait_until(lambda: "began 2" in worker.output)  # after the job, though no line has ended


def test_what_is_registered_for_the_end_of_the_process_runs(ledger):
    talking.says_goodbye.dispatch()
    with start_worker("--once") as worker:
        assert worker.wait() == 0
    assert ledger.details("sent") == ["report"]


def test_a_process_that_does_not_end_is_ended(ledger):
    talking.never_ends_its_process.dispatch()
    with start_worker("--once") as worker:
        wait_until(lambda: ledger.lines("end"))
        began = time.monotonic()
        assert worker.wait() == 0
        assert time.monotonic() - began < 4


def test_a_program_that_a_job_leaves_running_is_told_of_once(ledger):
    programs.leaves_a_program.dispatch()
    with start_worker() as worker:
        wait_until(lambda: ledger.lines("end"))
        (program,) = ledger.details("program")
        wait_until(lambda: f"left a program running: sleep (process {program})" in worker.output)
        jobs.record.dispatch(1, 0.1)
        wait_until(lambda: len(ledger.lines("end")) == 2)
        assert worker.stop() == 0
        assert worker.output.count("left a program running") == 1
    wait_until(lambda: not Path(f"/proc/{program}").exists())


def test_a_long_outcome_arrives_whole(ledger):
    talking.fails_at_length.dispatch()
    talking.fails_at_length_while_interrupted.dispatch()
    talking.fails_at_length.dispatch()
    jobs.record.dispatch(1)
    with start_worker("--stop-when-empty") as worker:
        assert worker.wait(30) == 0
    assert FailedJob.objects.count() == 3
    assert ledger.details("end") == ["1"]


def test_bytes_that_are_no_outcome_end_the_child_and_not_the_worker(ledger):
    talking.writes_into_every_pipe.dispatch()
    jobs.record.dispatch(1)
    with start_worker("--stop-when-empty") as worker:
        assert worker.wait(30) == 0
    assert ledger.details("end") == ["1"]
    failed = FailedJob.objects.get()
    assert failed.exception_class == "djqueue.errors.WorkerLost"
    assert "something else where its outcomes belong" in failed.exception_message


def test_a_job_that_closes_its_descriptors_is_ended(ledger):
    talking.closes_its_descriptors.dispatch()
    jobs.record.dispatch(1)
    with start_worker("--stop-when-empty") as worker:
        assert worker.wait(20) == 0
    assert ledger.details("end") == ["1"]
    assert "closed the channel of its outcomes" in FailedJob.objects.get().exception_message


def test_a_program_of_a_job_can_be_interrupted(ledger):
    """What children do not react to, the programs that they start do."""
    jobs.interrupts_a_program.dispatch()
    with start_worker("--once") as worker:
        assert worker.wait() == 0
    assert ledger.details("end") == [str([-2, -10, -12, -15, -1, -3])]


def test_a_hangup_that_was_ignored_at_the_start_stays_ignored(ledger):
    jobs.record.dispatch(1)
    with start_worker(ignore=[signal.SIGHUP]) as worker:
        wait_until(lambda: ledger.lines("end"))
        for pid in (worker.pid, *worker.children):
            os.kill(pid, signal.SIGHUP)
        jobs.record.dispatch(2)
        wait_until(lambda: "2" in ledger.details("end"))
        assert worker.stop() == 0


def test_jobs_that_end_their_process_keep_no_others_waiting(ledger):
    dispatch_many(jobs.exits.using(tries=1).bind() for _ in range(12))
    dispatch_many(jobs.record.bind(number) for number in range(20))
    with start_worker("--stop-when-empty") as worker:
        assert worker.wait(20) == 0
        assert "in a row" not in worker.output
    assert len(ledger.details("end")) == 20


def test_more_children_than_select_takes(ledger):
    """Descriptors above 1023: each child takes five of the parent's."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096:
        pytest.skip("the system lets a process have too few descriptors")
    dispatch_many(jobs.record.bind(number, 0.02) for number in range(400))
    with start_worker("--workers", 210, "--stop-when-empty") as worker:
        assert worker.wait(60) == 0
    assert sorted(map(int, ledger.details("end"))) == list(range(400))


def test_no_room_for_another_process_is_a_warning(ledger):
    with start_worker("--workers", 2, limits={resource.RLIMIT_NOFILE: (24, 24)}) as worker:
        wait_until(lambda: "could not be started" in worker.output)
        jobs.record.dispatch(1)
        wait_until(lambda: ledger.lines("end"))
        assert worker.stop() == 0
    assert not QueuedJob.objects.exists()


STILLBORN = {
    "refused": "A child could not be started ([Errno 11] Resource temporarily unavailable)",
    "dead at once": "children in a row have ended before they began anything.",
}


@pytest.mark.parametrize("how", STILLBORN)
def test_a_worker_whose_children_cannot_start_ends_in_time(ledger, settings, how):
    """What it has reserved is not begun, and nobody is there to be told of its end."""
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "tests.stillborn.StillbornConfig"]
    dispatch_many(jobs.record.bind(number) for number in range(3))
    with start_worker("--grace", 2, **{HOW: how}) as worker:
        wait_until(lambda: STILLBORN[how] in worker.output)
        began = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - began < 2 + 2 + 0.5  # half a second for a busy machine
        assert not worker.children
    waiting = QueuedJob.objects.filter(reserved_at=None, attempts=0, interruptions=0)
    assert waiting.count() == 3


def test_children_started_by_exec_import_from_where_their_parent_does(ledger, tmp_path):
    jobs.record.dispatch(1)
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from django.core.management import *"
    code += "; execute_from_command_line()"
    env = {**os.environ, **environment(), "DJQUEUE_START_BY_EXEC": "1"}
    del env["PYTHONPATH"]
    line = [sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", "-c", code]
    done = subprocess.run(
        [*line, "queue_work", "--stop-when-empty"], cwd=tmp_path, env=env, timeout=60, check=False
    )
    assert done.returncode == 0
    assert ledger.details("end") == ["1"]


@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace needs the system's administrator")
def test_a_worker_may_be_the_first_process_of_a_container(ledger):
    programs.starts_programs.using(timeout=1, tries=1).dispatch()
    jobs.record.dispatch(1)
    container = ("unshare", "--pid", "--mount-proc", "--fork", "--kill-child")
    with start_worker("--grace", 1, prefix=container) as outside:
        wait_until(FailedJob.objects.exists)
        wait_until(lambda: ledger.lines("end"))
        worker = outside.children[0]
        names = [Path(f"/proc/{pid}/comm").read_text() for pid in outside.children]
        assert "sleep\n" not in names
        jobs.record.dispatch(2, 0.5)
        wait_until(lambda: len(ledger.lines("begin")) == 3)
        for pid in (*outside.children[1:], worker):
            os.kill(pid, signal.SIGTERM)
        outside.wait(5)
    assert ledger.details("end") == ["1", "2"]
