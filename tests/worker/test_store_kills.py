"""Workers killed on every store; `python -m tests.torture redis sqs …` makes the runs long."""

from __future__ import annotations

import pytest

from djqueue.models import FailedJob, Run
from tests.app import jobs
from tests.app.models import Note
from tests.ledger import Ledger
from tests.torture import kills
from tests.torture.sizes import ATOMIC, JOBS, KILLS, SEED, size

pytestmark = pytest.mark.scenario

FEW = {"sqs": 80}
"""Jobs of a run in the suite: moto takes a second for every hundred."""
AT_ONCE = 200
"""Messages that moto can hold without becoming slow."""


def run(store: str, ledger: Ledger, job: object, *, many: int, seed: int) -> kills.Count:
    count = kills.run(
        ledger,
        job,
        jobs=many,
        kills=size(KILLS, 6),
        seed=seed,
        connection="store",
        check_runs=job is jobs.sturdy,
        at_once=AT_ONCE if store == "sqs" else None,
    )
    print(f"{store}, {job}: {count}")
    assert not FailedJob.objects.exists()
    return count


def test_no_job_is_lost_when_processes_are_killed(store, ledger):
    run(store, ledger, jobs.sturdy, many=size(JOBS, FEW.get(store, 400)), seed=size(SEED, 4))


def test_what_atomic_jobs_write_is_there_exactly_once(store, ledger):
    many = size(ATOMIC, FEW.get(store, 300))
    count = run(store, ledger, jobs.insert_note, many=many, seed=size(SEED, 5))
    notes = sorted(int(text) for text in Note.objects.values_list("text", flat=True))
    assert notes == list(range(count.jobs))
    assert not Run.objects.filter(ended=False).exclude(held_as="").exists()
