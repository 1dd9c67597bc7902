"""Short, seeded runs of `tests.torture`."""

from __future__ import annotations

import pytest

from djqueue.models import FailedJob, QueuedJob
from tests.app import jobs
from tests.app.models import Note
from tests.ledger import Ledger
from tests.torture import kills

SETTINGS = {"CONNECTIONS": {"database": {"DRIVER": "database", "RETRY_AFTER": kills.LEASE}}}


@pytest.fixture(autouse=True)
def short_lease(settings: object) -> None:
    settings.DJQUEUE = SETTINGS  # type: ignore[attr-defined]


def test_no_job_is_lost_when_processes_are_killed(ledger: Ledger) -> None:
    count = kills.run(ledger, jobs.sturdy, jobs=1500, kills=12, seed=1)
    assert not FailedJob.objects.exists()
    assert not QueuedJob.objects.exists()
    assert count.failed == 0


def test_no_job_runs_beyond_its_tries_when_processes_are_killed(ledger: Ledger) -> None:
    count = kills.run(ledger, jobs.frail, jobs=1500, kills=12, seed=2)
    assert max(line.attempt for line in ledger.lines("begin")) <= 2
    done = set(ledger.count("begin")) - {str(row.uuid) for row in FailedJob.objects.all()}
    assert len(done) + count.failed == count.jobs


def test_what_atomic_jobs_write_is_there_exactly_once(ledger: Ledger) -> None:
    kills.run(ledger, jobs.insert_note, jobs=800, kills=12, seed=3, check_runs=False)
    notes = sorted(int(text) for text in Note.objects.values_list("text", flat=True))
    assert notes == list(range(800))
    assert not FailedJob.objects.exists()
