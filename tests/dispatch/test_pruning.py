"""What is too old to be of use goes, and nothing else; no go of it takes longer than its budget."""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

import pytest

from djqueue.databases.now import UtcNow
from djqueue.dispatch import controls
from djqueue.drivers.base import Reservation
from djqueue.finish import failed
from djqueue.finish.failed import GivenUp
from djqueue.models import Control, FailedJob, Run
from djqueue.operations import failed_jobs, pruning
from djqueue.runner.outcome import ErrorReport

pytestmark = pytest.mark.django_db(databases=["default", "queue"])


def run(days, *, ended=False, keep=None):
    """A guard row that was last written so many days ago."""
    id = str(uuid.uuid4())
    Run.objects.create(
        uuid=id,
        ended=ended,
        updated_at=UtcNow() - timedelta(days=days),
        keep_until=None if keep is None else UtcNow() + timedelta(days=keep),
    )
    return id


def left():
    return {str(id) for id in Run.objects.values_list("uuid", flat=True)}


def test_guard_rows_go_by_their_age_and_not_before_their_job_was_due():
    kept = {
        run(14, ended=True),
        run(14),
        run(40, keep=1),  # put back for long: its attempts are still needed
    }
    run(16, ended=True)
    run(16)
    run(40, keep=-1)
    run(16, ended=True, keep=300)
    assert pruning.prune()
    assert left() == kept


def test_many_old_rows_take_no_longer_than_the_budget(monkeypatch):
    monkeypatch.setattr(pruning, "SLICE", 10)
    old = UtcNow() - timedelta(days=20)
    rows = [Run(uuid=uuid.uuid4(), ended=True, updated_at=old) for _ in range(3_000)]
    Run.objects.bulk_create(rows, batch_size=100)
    started = time.monotonic()
    assert not pruning.prune(budget=0.02)
    assert time.monotonic() - started < 1
    assert 0 < len(left()) < 3_000
    while not pruning.prune(budget=1):
        pass
    assert not left()


def test_old_failed_jobs_are_a_part_of_the_budget(change, monkeypatch):
    change(PRUNE_AFTER={"FAILED_JOBS": 60})
    monkeypatch.setattr(failed_jobs, "SLICE", 10)
    held = Reservation("", "default", "a.B", "{}", 1, 0, "", None)
    error = ErrorReport("ValueError", "no", "")
    ids = [str(uuid.uuid4()) for _ in range(30)]
    failed.record("database", [GivenUp(held._replace(id=id), error, "") for id in ids])
    FailedJob.objects.update(failed_at=UtcNow() - timedelta(seconds=90))
    assert not pruning.prune(budget=-1)
    assert FailedJob.objects.count() == 20
    assert pruning.prune()
    assert not FailedJob.objects.exists()


def test_a_pause_that_is_over_goes_a_day_later_and_others_stay():
    for queue, seconds in (("past", 60), ("now", 60), ("always", None)):
        controls.pause("database", queue, for_=seconds)
    controls.request_restart()
    Control.objects.filter(scope__endswith=":past").update(until=UtcNow() - timedelta(days=2))
    Control.objects.filter(scope__endswith=":now").update(until=UtcNow() - timedelta(hours=2))
    assert pruning.prune()
    assert {
        scope.rpartition(":")[2] for scope in Control.objects.values_list("scope", flat=True)
    } == {"now", "always", "restart"}
