"""What all queues of a jobs table hold is read without counting everything."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from djqueue.drivers.base import QueueCounts
from djqueue.drivers.types import Census
from djqueue.models import QueuedJob, Worker
from tests.faces import database

pytestmark = pytest.mark.django_db(transaction=True)

NOW = timezone.now()


@pytest.fixture
def inspector():
    driver = database()
    yield driver.inspector
    driver.close()


def rows(queue, number, due=-10.0, line=None, holder=None, lease=60.0):
    at = NOW + timedelta(seconds=due)
    until = NOW + timedelta(seconds=lease) if holder else None
    QueuedJob.objects.bulk_create(
        QueuedJob(
            queue=queue,
            payload="{}",
            name="shop.Pack",
            uuid=uuid.uuid4(),
            available_at=at,
            created_at=at,
            line=line,
            reserved_by=holder,
            reserved_until=until,
        )
        for _ in range(number)
    )


def test_it_says_what_counting_says(inspector):
    worker = Worker.objects.create(
        name="w",
        hostname="h",
        pid=1,
        connection="database",
        queues="mail",
        started_at=NOW,
        alive_until=NOW + timedelta(seconds=600),
    )
    rows("mail", 4, line=0)
    rows("mail", 2, due=-500, line=5)  # of a lower priority, and the oldest
    rows("mail", 3, due=-20)  # due, and not in line yet
    rows("mail", 7, due=3600)
    rows("mail", 2, due=-900, holder=worker.pk, lease=-5.0)  # the worker's row is its lease
    rows("pdf", 3, holder=worker.pk + 1, lease=-5.0)
    rows("zip", 1, due=-30)
    exact, found = inspector.census(["empty"]), inspector.census(["empty"], 100)
    assert set(found) == {"default", "empty", "mail", "pdf", "zip"}
    assert found == exact
    assert found["empty"] == Census(QueueCounts(0, 0, 0), 0)
    assert found["mail"].counts[:3] == (9, 7, 2)
    assert found["mail"].counts.oldest_at is not None
    assert abs((NOW - found["mail"].counts.oldest_at).total_seconds() - 500) < 1
    assert (found["mail"].stuck, found["pdf"].stuck) == (0, 3)


def test_it_counts_up_to_a_limit_in_three_statements_for_eighty_queues(inspector):
    rows("mail", 12, line=0)
    rows("mail", 12, due=3600)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        found = inspector.census([f"queue-{number}" for number in range(78)], 10)
    assert len(found) == 80
    assert found["mail"].counts[:3] == (10, 10, 0)
    assert len(asked) == 3


def test_what_is_held_is_not_delayed_whenever_it_is_due(inspector):
    rows("mail", 3, due=500)
    rows("mail", 2, due=500, holder=7)
    for at_most in (3, 4, 5, 6, 100):
        [found] = [each for name, each in inspector.census([], at_most).items() if name == "mail"]
        assert (found.counts.delayed, found.counts.reserved) == (min(3, at_most), 2)
