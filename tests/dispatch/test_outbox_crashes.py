"""A process dies between any two steps of the outbox: the job is pushed all the same, and if it is
pushed twice it is so as the same push of the same job.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections import Counter

import pytest

from djqueue.databases.now import UtcNow
from djqueue.dispatch.outbox import outbox
from djqueue.drivers.base import Reservation
from djqueue.finish import failed
from djqueue.models import FailedJob, Outbox, QueuedJob
from djqueue.operations import retrying
from djqueue.runner.outcome import ErrorReport
from tests.half import HalfDriver
from tests.support import ROOT, environment

pytestmark = [pytest.mark.scenario, pytest.mark.django_db(transaction=True)]

HALF = {"DRIVER": "tests.half.HalfDriver", "OUTBOX": True}
DJQUEUE = {"DEFAULT": "half", "CONNECTIONS": {"half": HALF}}
DISPATCH = """
from django.db import transaction
from djqueue import dispatch_many
from tests.app import jobs
with transaction.atomic():
    dispatch_many(jobs.record.bind(number) for number in range(3))
"""
REPLAY = "from djqueue.dispatch.outbox import outbox; outbox.replay()"
RETRY = "from djqueue.operations import retrying; retrying.retry()"
DYING = """
import os, signal
import django
django.setup()

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def after(owner, name):
    real = getattr(owner, name)
    def wrapped(*args, **kwargs):
        real(*args, **kwargs)
        die()
    setattr(owner, name, wrapped)

from djqueue.dispatch.outbox import outbox, pushing, rows as outbox_rows
from djqueue.operations import failed_jobs
from tests.half import HalfDriver
{where}
{what}
print("lived")
"""
BEFORE, TAKEN, PUSHED = (
    "outbox_rows.take = outbox_rows.take_due = failed_jobs.take = die",
    "HalfDriver.push = die",
    "after(HalfDriver, 'push')",
)


def run_and_die(where: str, what: str) -> None:
    """In another process, which is killed at that point."""
    program = DYING.format(where=where, what=what)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **environment()},
        stdout=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == -9, done.stdout


def later() -> None:
    """When whoever died holds nothing any more."""
    Outbox.objects.update(due_at=UtcNow(), taken_until=None)
    FailedJob.objects.update(taken_until=None)


def places() -> Counter[str]:
    """Where the jobs are."""
    stored = QueuedJob.objects.values_list("uuid", flat=True)
    assert len(set(stored)) == len(stored)
    return Counter(stored=len(stored), waiting=Outbox.objects.count())


@pytest.fixture(autouse=True)
def _connections(settings):
    settings.DJQUEUE = DJQUEUE
    HalfDriver.heal()


@pytest.mark.parametrize(
    ("where", "stored"), [(BEFORE, 0), (TAKEN, 0), (PUSHED, 3)], ids=["before", "taken", "pushed"]
)
def test_a_dispatcher_that_dies_leaves_everything_to_a_worker(where, stored):
    run_and_die(where, DISPATCH)
    assert places() == {"stored": stored, "waiting": 3}
    later()
    run_and_die(PUSHED, REPLAY)  # so does the first worker that comes
    assert places() == {"stored": 3, "waiting": 3}
    later()
    assert outbox.replay() == 3
    assert places() == {"stored": 3, "waiting": 0}
    assert {job.push_name == job.id for push in HalfDriver.pushes for job in push} == {True}


@pytest.mark.parametrize("where", [BEFORE, TAKEN, PUSHED], ids=["before", "taken", "pushed"])
def test_a_retry_that_dies_leaves_the_failed_jobs_to_another(where):
    error = ErrorReport("ValueError", "no", "")
    made = []
    for _ in range(3):
        id = str(uuid.uuid4())
        held = Reservation(id, "default", "app.record", "{}", 1, 0, "", None)
        made.append(failed.GivenUp(held, error, ""))
    failed.record("half", made)
    run_and_die(where, RETRY)
    assert FailedJob.objects.count() == 3
    before = {str(job.uuid): job.push_id for job in QueuedJob.objects.all()}
    assert len(before) == (3 if where == PUSHED else 0)
    later()
    assert retrying.retry().moved == 3
    assert places() == {"stored": 3, "waiting": 0}
    assert not FailedJob.objects.exists()
    again = {job.id: job.push_id for push in HalfDriver.pushes for job in push}
    assert all(again.values())
    assert len(set(again.values())) == 3
    if before:
        assert again == before, "the same push of the same job"
