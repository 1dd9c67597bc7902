"""A row knows its push: the same push twice is one job, and another one takes its place."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection

from djqueue.drivers.base import OutgoingJob, Settlement
from djqueue.models import QueuedJob
from tests.faces import database

pytestmark = pytest.mark.django_db(transaction=True)
COUNTS = [1, 2, 60]


@pytest.fixture
def driver(transactional_db):
    yield database()
    connection.close()


def jobs(count: int) -> list[OutgoingJob]:
    return [OutgoingJob(str(uuid.uuid4()), "default", "app.record", "{}") for _ in range(count)]


def again(pushed: list[OutgoingJob], payload: str) -> list[OutgoingJob]:
    """A retry of each."""
    return [job._replace(push_id=str(uuid.uuid4()), payload=payload) for job in pushed]


@pytest.mark.parametrize("count", COUNTS)
def test_a_retry_is_not_swallowed_by_the_row_of_the_attempt_that_failed(driver, count):
    """Its worker has written the failed row, and is about to remove the job."""
    first = jobs(count)
    driver.push(first)
    held = driver.exchange([], ["default"], count).reservations
    retry = again(first, '"retry"')
    driver.push(retry)
    driver.push(retry)
    assert driver.settle([Settlement(one) for one in held]) == {job.id for job in first}
    found = driver.exchange([], ["default"], 100).reservations
    assert [(one.id, one.attempt, one.payload) for one in found] == [
        (job.id, 1, '"retry"') for job in first
    ]
    assert all(driver.fence(new) > driver.fence(old) for new, old in zip(found, held, strict=True))
    driver.push(retry)  # as one that is repeated after an answer was lost
    assert driver.settle([Settlement(one) for one in found]) == set()
    assert not QueuedJob.objects.exists()


@pytest.mark.parametrize("count", COUNTS)
def test_the_first_push_repeated_changes_nothing(driver, count):
    first = jobs(count)
    driver.push(again(first, '"retry"'))
    driver.push(first)
    rows = QueuedJob.objects.all()
    assert [row.payload for row in rows] == ['"retry"'] * count


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("batch", ["", "b" * 36])
def test_rows_of_a_retry_have_its_push_and_their_batch(driver, count, batch):
    """By whatever statement they are written."""
    retry = [job._replace(batch=batch) for job in again(jobs(count), '"\\\\retry"')]
    driver.push(retry)
    rows = {str(row.uuid): row for row in QueuedJob.objects.all()}
    assert len(rows) == count
    for job in retry:
        row = rows[job.id]
        assert (row.push_id, row.batch_id or "", row.payload) == (job.push_id, batch, job.payload)
