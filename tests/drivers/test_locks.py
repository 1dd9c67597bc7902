"""A row that somebody has locked holds nobody up."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

import pytest
from django.db import connection

from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.database import DatabaseDriver
from djqueue.models import QueuedJob, Worker
from tests import databases
from tests.faces import database

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(databases.vendor() == "sqlite", reason="it locks the whole database"),
]


@pytest.fixture
def driver(transactional_db):
    """Whoever waits for a lock gets an error after two seconds."""
    with connection.cursor() as cursor:
        if databases.vendor() == "mariadb":
            cursor.execute("SET innodb_lock_wait_timeout = 2")
        else:
            cursor.execute("SET lock_timeout = '2s'")
    return database()


@contextlib.contextmanager
def locked(id: str) -> Iterator[None]:
    """Another session is in the middle of something with the row of a job."""
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            key = id if connection.features.has_native_uuid_field else id.replace("-", "")
            cursor.execute("SELECT id FROM jobs WHERE uuid = %s FOR UPDATE", [key])
        yield
        other.rollback()  # a server may learn late that a session was closed
    finally:
        other.close()


def push(driver: DatabaseDriver, count: int) -> list[str]:
    ids = [str(uuid.uuid4()) for _ in range(count)]
    driver.push([OutgoingJob(id, "default", "app.record", "{}") for id in ids])
    return ids


def test_the_others_are_reserved(driver):
    ids = push(driver, 5)
    with locked(ids[0]):
        got = [r.id for r in driver.exchange([], ["default"], 3).reservations]
    assert got == ids[1:4]
    assert [r.id for r in driver.exchange([], ["default"], 3).reservations] == [ids[0], ids[4]]


def test_the_others_are_promoted(driver):
    ids = push(driver, 3)
    QueuedJob.objects.update(line=None, available_at="2026-01-01T00:00Z")
    with locked(ids[0]):
        assert driver.promote(["default"]).moved == 2
    assert driver.promote(["default"]).moved == 1


def test_the_others_are_taken_over(driver):
    ids = push(driver, 3)
    driver.exchange([], ["default"], 3)
    long_ago = "2026-01-01T00:00Z"
    dead = Worker.objects.create(
        name="dead", hostname="h", pid=1, started_at=long_ago, alive_until=long_ago
    )
    QueuedJob.objects.update(reserved_by=dead.pk)
    with locked(ids[0]):
        assert {r.id for r in driver.recover(10)} == set(ids[1:])
    assert {r.id for r in driver.recover(10)} == {ids[0]}
