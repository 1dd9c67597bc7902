"""A worker moves debounced jobs into its store when they are due."""

from __future__ import annotations

import pytest

from djqueue.jobs import registry
from djqueue.models import Outbox, QueuedJob
from tests.support import start_worker, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def save():
    """The job, known to this process for one test."""
    from tests.late import jobs

    registry.register(jobs.save.job_class._spec)
    yield jobs.save
    registry.unregister("late.save")


def test_the_last_one_runs_once(save, ledger, settings):
    first, *_ = [save.dispatch(number) for number in range(5)]
    apps = {"INSTALLED_APPS": [*settings.INSTALLED_APPS, "tests.late"]}
    with start_worker("--sleep", "0.1", overrides=apps):
        wait_until(lambda: ledger.lines("saved"))
        second = save.dispatch(9)
        wait_until(lambda: len(ledger.lines("saved")) == 2)
        wait_until(lambda: not QueuedJob.objects.exists())
    assert ledger.details("saved") == ["4", "9"]
    assert list(ledger.count("saved")) == [first.id, second.id]
    assert not Outbox.objects.exists()
