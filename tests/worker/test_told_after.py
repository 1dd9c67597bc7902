"""What is told of attempts that could say nothing themselves, and of workers that stop."""

from __future__ import annotations

import json
import signal

import pytest

from djqueue import dispatch_many, queues
from djqueue.models import FailedJob, QueuedJob
from tests.app import jobs, untidy
from tests.support import start_worker, wait_until
from tests.worker.stores import settings_of

pytestmark = pytest.mark.anywhere


def test_nothing_is_announced_before_it_is_stored(ledger):
    for one in (untidy.heard_done, untidy.heard_failed, untidy.heard_released):
        one.dispatch()
        with start_worker("--once", overrides={"LOOKS_WHEN_ANNOUNCED": True}) as worker:
            assert worker.wait(30) == 0
    assert ledger.details("succeeded") == ["['app.heard_done', 0, 0]"]
    assert ledger.details("failed") == ["['app.heard_failed', 0, 1]"]
    assert ledger.details("released") == ["['app.heard_released', 0, 1]"]


def test_many_successes_are_all_announced(ledger):
    dispatch_many(untidy.heard_done.bind() for _ in range(75))
    overrides = {"LOOKS_WHEN_ANNOUNCED": True}
    with start_worker("--stop-when-empty", overrides=overrides) as worker:
        assert worker.wait(30) == 0
        assert worker.output.count("DONE") == 75
    assert len(ledger.lines("succeeded")) == 75


@pytest.mark.parametrize("store", ["database", "redis"])
def test_a_queue_is_not_empty_while_a_failure_is_unannounced(request, settings, ledger, store):
    if store == "redis":
        settings.DJQUEUE = settings_of(store, request)
    jobs.HandsOn(7).dispatch()
    with start_worker("--workers", 1, "--stop-when-empty") as worker:
        assert worker.wait(30) == 0
    assert ledger.details("end") == ["7"]
    assert queues[None].is_empty()
    queues[None].close()


def test_a_hard_timeout_is_announced_as_promised(ledger):
    untidy.hangs.dispatch()
    with start_worker("--stop-when-empty", "--grace", 30) as worker:
        assert worker.wait(30) == 0
    assert ledger.lines("deaf")
    assert ledger.details("timed out") == ["['hangs', 'database', 1, {'duration': 1}]"]
    assert ledger.details("released") == ["['hangs', 'database', 1, {'delay': 0.0}]"]


def test_an_attempt_whose_process_died_is_announced_as_released(ledger):
    untidy.dies_once.dispatch()
    with start_worker("--stop-when-empty") as worker:
        assert worker.wait(30) == 0
    assert ledger.details("released") == ["['dies_once', 'database', 1, {'delay': 0.0}]"]


def test_failures_of_a_worker_are_records_of_its_log(ledger, tmp_path):
    file = tmp_path / "log.txt"
    logged = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "facts": {"format": "%(levelname)s %(job_name)s %(attempt)s %(queue)s %(connection)s"}
        },
        "handlers": {
            "file": {
                "class": "logging.FileHandler",
                "filename": str(file),
                "formatter": "facts",
            }
        },
        "loggers": {"djqueue.jobs": {"handlers": ["file"], "level": "DEBUG"}},
    }
    jobs.boom.using(tries=2).dispatch("no funds")
    untidy.dies_once.dispatch()
    with start_worker("--stop-when-empty", overrides={"LOGGING": logged}) as worker:
        assert worker.wait(30) == 0
    text = file.read_text()
    heads = [line for line in text.splitlines() if line.endswith("default database")]
    assert sorted(heads) == [
        "ERROR app.boom 2 default database",
        "WARNING app.boom 1 default database",
        "WARNING app.dies_once 1 default database",
    ]
    assert text.count("raise ValueError(message)") == 2
    assert "ValueError: no funds" in text
    assert "djqueue.errors.ProcessDied: Its process was killed by signal 9" in text


@pytest.mark.wallclock  # a worker has a second and a half after the grace to hand back
def test_orderly_ends_of_workers_do_not_make_a_job_fail(ledger):
    jobs.record.dispatch(1, 60.0)
    for number in range(1, 5):
        with start_worker("--grace", 0) as worker:
            wait_until(lambda number=number: len(ledger.lines("begin")) == number)
            assert worker.stop() == 0
    row = QueuedJob.objects.get()
    assert (row.attempts, row.interruptions) == (0, 4)
    entries = json.loads(row.history)["attempts"]
    assert [entry["kind"] for entry in entries] == ["interrupted"] * 4
    assert not FailedJob.objects.exists()


@pytest.mark.wallclock
def test_a_job_that_must_not_be_interrupted_fails_at_the_first_end(ledger):
    untidy.never_interrupted.dispatch()
    with start_worker("--grace", 0) as worker:
        wait_until(lambda: ledger.lines("begin"))
        assert worker.stop() == 0
    assert FailedJob.objects.get().exception_class == "djqueue.errors.WorkerLost"


@pytest.mark.wallclock
def test_a_job_sees_that_its_worker_stops_and_leaves_uncharged(ledger):
    untidy.leaves_when_asked.dispatch(1)
    with start_worker("--grace", 20) as worker:
        wait_until(lambda: ledger.lines("begin"))
        worker.send(signal.SIGTERM)
        assert worker.wait(10) == 0
    row = QueuedJob.objects.get()
    assert (row.attempts, row.interruptions) == (0, 0)


def test_a_release_of_its_own_accord_counts(ledger):
    untidy.leaves_when_asked.dispatch(0)
    with start_worker("--stop-when-empty") as worker:
        assert worker.wait(30) == 0
        assert "default  1  FAIL" in worker.output
    assert FailedJob.objects.get().attempts == 1
