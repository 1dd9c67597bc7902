"""A worker of hundreds of queues asks as few questions as one of a few."""

from __future__ import annotations

import time
import uuid

import pytest
from django.db import connection, connections

from djqueue.drivers.base import OutgoingJob, Settlement, Verdict, WorkerIdentity
from djqueue.drivers.database import DatabaseDriver
from djqueue.models import QueuedJob
from tests import databases
from tests.faces import database

pytestmark = pytest.mark.django_db(transaction=True)

QUEUES = ['with "quotes", {braces} and \\', *(f"queue-{number}" for number in range(499))]
PLACES = (0, 3, 250, 499)


@pytest.fixture
def driver():
    """A worker's."""
    driver = database()
    driver.join(WorkerIdentity("worker", "host", 1, tuple(QUEUES), 20.0))
    driver.watch(QUEUES)
    yield driver
    driver.close()
    del connections["default"]


def push(driver: DatabaseDriver, delay: float = 0.0) -> list[str]:
    """Two jobs in each of some queues, last queue first; their ids in the order of the queues."""
    ids: list[str] = []
    for place in reversed(PLACES):
        pair = [str(uuid.uuid4()) for _ in range(2)]
        driver.push([OutgoingJob(id, QUEUES[place], "app.record", "{}", delay) for id in pair])
        ids[:0] = pair
    return ids


def test_jobs_of_500_queues_are_reserved_in_the_order_of_the_queues(
    driver,
):
    ids = push(driver)
    first = driver.exchange([], QUEUES, 3).reservations
    assert [each.id for each in first] == ids[:3]
    assert QueuedJob.objects.filter(reserved_by__isnull=False).count() == 3
    done = [Settlement(each) for each in first]
    begun = time.monotonic()
    rest = driver.exchange(done, QUEUES, 100).reservations
    assert [each.id for each in rest] == ids[3:]
    assert driver.exchange([Settlement(each) for each in rest], QUEUES, 100) == (set(), [])
    assert time.monotonic() - begun < 5
    assert not QueuedJob.objects.exists()


def test_delayed_jobs_of_500_queues_become_due(driver):
    assert driver.promote(QUEUES) == (0, None)
    push(driver, 600)
    moved, due_in = driver.promote(QUEUES)
    assert moved == 0
    assert due_in == pytest.approx(600, abs=20)
    QueuedJob.objects.filter(queue=QUEUES[250]).update(available_at="2026-01-01T00:00Z")
    QueuedJob.objects.filter(queue=QUEUES[3]).update(available_at="2026-01-01T00:00Z")
    assert driver.promote(QUEUES).moved == 4
    assert len(driver.exchange([], QUEUES, 100).reservations) == 4


def test_promoting_nothing_takes_few_questions(driver):
    push(driver, 600)
    driver.patience = 60.0
    with connection.execute_wrapper(_counted):
        asked.clear()
        driver.promote(QUEUES)
    limit = 1 if databases.vendor() == "postgresql" else 10
    assert len(asked) <= limit


asked: list[str] = []


def _counted(execute, sql, params, many, context):
    asked.append(sql)
    return execute(sql, params, many, context)


@pytest.mark.postgresql
def test_two_queues_and_500_share_a_prepared_statement(driver):
    for count in (2, 3, 50, 500):
        driver.exchange([], QUEUES[:count], 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        assert cursor.fetchone() == (1,)


def test_a_worker_takes_what_another_one_leaves(driver):
    ids = push(driver)
    other = database()
    taken = [each.id for each in driver.exchange([], QUEUES, 3).reservations]
    taken += [each.id for each in other.exchange([], QUEUES, 100).reservations]
    assert taken == ids
    assert (
        driver.settle([Settlement(each, Verdict.RETURN) for each in driver.unacknowledged([])])
        == set()
    )
