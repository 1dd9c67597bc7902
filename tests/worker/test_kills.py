"""Short, seeded runs; `python -m tests.torture` makes them long."""

from __future__ import annotations

import pytest

from djqueue import dispatch_many
from djqueue.models import FailedJob, QueuedJob
from tests.app import jobs
from tests.app.models import Note
from tests.support import start_worker
from tests.torture import kills
from tests.torture.sizes import ATOMIC, JOBS, KILLS, NOOPS, SEED, size

pytestmark = pytest.mark.scenario

SETTINGS = {"CONNECTIONS": {"database": {"DRIVER": "database", "RETRY_AFTER": kills.LEASE}}}


@pytest.fixture(autouse=True)
def short_lease(settings):
    settings.DJQUEUE = SETTINGS


def test_two_workers_run_each_of_many_jobs_once(ledger):
    count = size(NOOPS, 2000)
    dispatch_many(jobs.record.bind(number) for number in range(count))
    line = ("--workers", 2, "--stop-when-empty")
    with start_worker(*line) as one, start_worker(*line) as two:
        assert one.wait(300) == two.wait(300) == 0
    assert sorted(map(int, ledger.details("begin"))) == list(range(count))
    assert sorted(map(int, ledger.details("end"))) == list(range(count))
    assert not QueuedJob.objects.exists()


def test_no_job_is_lost_when_processes_are_killed(ledger):
    count = kills.run(
        ledger, jobs.sturdy, jobs=size(JOBS, 1500), kills=size(KILLS, 12), seed=size(SEED, 1)
    )
    print(count)
    assert not FailedJob.objects.exists()
    assert not QueuedJob.objects.exists()


def test_no_job_runs_beyond_its_tries_when_processes_are_killed(ledger):
    count = kills.run(
        ledger, jobs.frail, jobs=size(JOBS, 1500), kills=size(KILLS, 12), seed=size(SEED, 2)
    )
    print(count)
    assert max(line.attempt for line in ledger.lines("begin")) <= 2
    failed = {str(uuid) for uuid in FailedJob.objects.values_list("uuid", flat=True)}
    done = set(ledger.count("end")) - failed
    assert len(done) + len(failed) == count.jobs


def test_what_atomic_jobs_write_is_there_exactly_once(ledger):
    many = size(ATOMIC, 800)
    count = kills.run(
        ledger,
        jobs.insert_note,
        jobs=many,
        kills=size(KILLS, 12),
        seed=size(SEED, 3),
        check_runs=False,
    )
    print(count)
    notes = sorted(int(text) for text in Note.objects.values_list("text", flat=True))
    assert notes == list(range(count.jobs))
    assert not FailedJob.objects.exists()
