"""Output that goes nowhere costs lines, never jobs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import pytest

from djqueue import dispatch_many
from djqueue.models import FailedJob, QueuedJob
from tests.app import jobs
from tests.support import ROOT, environment, start_worker, wait_until

pytestmark = pytest.mark.anywhere


def _work(*arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "django", "queue_work", *arguments]
    env = {**os.environ, **environment()}
    return subprocess.Popen(line, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, **streams)


def _closed_pipe() -> IO[bytes]:
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "wb", buffering=0)


def _full_disk() -> IO[bytes]:
    return Path("/dev/full").open("wb", buffering=0)


@pytest.mark.parametrize("output", [_closed_pipe, _full_disk])
def test_a_worker_works_on_when_its_output_cannot_be_written(ledger, output):
    dispatch_many(jobs.record.bind(number) for number in range(30))
    jobs.boom.dispatch()
    with output() as stream:
        worker = _work("--stop-when-empty", stdout=stream, stderr=stream)
        assert worker.wait(20) == 0
    assert not QueuedJob.objects.exists()
    assert set(ledger.count("begin").values()) == {1}
    assert FailedJob.objects.count() == 1


def test_a_worker_works_without_any_output(ledger):
    jobs.record.dispatch(1)

    def close() -> None:
        os.closerange(1, 3)

    worker = _work("--stop-when-empty", preexec_fn=close)
    assert worker.wait(20) == 0
    assert ledger.details("end") == ["1"]


def test_a_worker_whose_output_nobody_reads_ends_when_it_is_told_to(ledger):
    dispatch_many(jobs.record.bind(number) for number in range(2000))  # more than a pipe takes
    worker = _work(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: len(ledger.lines("end")) == 2000, timeout=30)
        began = time.monotonic()
        worker.terminate()
        assert worker.wait(10) == 0
        assert time.monotonic() - began < 3
        assert not QueuedJob.objects.exists()
    finally:
        worker.kill()
        worker.communicate()


def test_json_has_the_lines_of_stdout_for_itself(ledger):
    jobs.says.dispatch("said by a job")
    line = ("--stop-when-empty", "--json")
    worker = _work(*line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lines, said = worker.communicate(timeout=20)
    events = [json.loads(line) for line in lines.splitlines()]
    assert events[-1]["event"] == "stopped"
    assert events[-1]["reason"] == "the queue is empty"
    assert events[-1]["error"] is None
    assert b"said by a job" in said


def test_a_warning_is_said_once(ledger):
    jobs.exits.dispatch()
    with start_worker("--memory", 1, "--workers", 1) as worker:
        jobs.record.dispatch(1)
        assert worker.wait(15) == 12
        assert worker.output.count("above --memory 1") == 1
