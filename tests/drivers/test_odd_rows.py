"""Numbers in a row that no worker wrote stop no worker and no operator."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection

from djqueue.drivers.base import OutgoingJob, Reservation, Settlement, Verdict
from djqueue.drivers.database import DatabaseDriver
from djqueue.models import QueuedJob
from tests.faces import database

pytestmark = pytest.mark.django_db(transaction=True)

VERDICTS = [Verdict.RETURN, Verdict.INTERRUPTED, Verdict.RELEASE]


@pytest.fixture
def driver(transactional_db):
    yield database()
    connection.close()


def held(driver: DatabaseDriver) -> list[Reservation]:
    """Two jobs that run, whose rows somebody has edited to what looks like a new job's."""
    driver.push([OutgoingJob(str(uuid.uuid4()), "default", "app.record", "{}") for _ in range(2)])
    reservations = driver.exchange([], ["default"], 2).reservations
    QueuedJob.objects.update(attempts=0, interruptions=2147483647, priority=-32768)
    return reservations


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_reserved_job_without_an_attempt_goes_back(driver, verdict):
    settlements = [Settlement(each, verdict, charged=False) for each in held(driver)]
    assert driver.settle(settlements) == set()
    assert [row.attempts for row in QueuedJob.objects.all()] == [0, 0]
    assert len(driver.exchange([], ["default"], 2).reservations) == 2


def test_an_operator_puts_it_back_too(driver):
    ids = [each.id for each in held(driver)]
    QueuedJob.objects.update(reserved_until="2026-01-01T00:00Z")
    assert driver.release("default", ids) == 2
    assert [row.attempts for row in QueuedJob.objects.all()] == [0, 0]
