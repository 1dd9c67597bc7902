"""What a database refuses for its content is told from an outage, job by job."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

import pytest
from django.db import connection, connections, transaction

from djqueue.drivers.base import OutgoingJob, Settlement, Verdict
from djqueue.drivers.database import DatabaseDriver
from djqueue.errors import QueueUnavailable
from djqueue.models import QueuedJob
from tests import databases
from tests.faces import database

pytestmark = pytest.mark.django_db(transaction=True)

BAD = {
    "a lone surrogate": {"name": "app.\ud800"},
    "a delay beyond the calendar": {"delay": 1e12},
    "no number": {"delay": float("nan")},
}
if databases.vendor() != "sqlite":
    BAD["too long a name"] = {"name": "n" * 300}
if databases.vendor() == "postgresql":
    BAD["a NUL"] = {"payload": '"\0"'}


@pytest.fixture
def driver(transactional_db):
    yield database()
    connection.close()


def job(**changes: object) -> OutgoingJob:
    return OutgoingJob(str(uuid.uuid4()), "default", "app.record", "{}")._replace(**changes)


def refused(driver: DatabaseDriver, jobs: list[OutgoingJob]) -> QueueUnavailable:
    with pytest.raises(QueueUnavailable) as raised:
        driver.push(jobs)
    assert not raised.value.ambiguous
    return raised.value


def test_the_others_are_stored(driver):
    bad = {what: job(**changes) for what, changes in BAD.items()}
    for what, one in bad.items():
        assert set(refused(driver, [one]).refused) == {one.id}, what
    for size in (3, 60):
        good = [job() for _ in range(size)]
        error = refused(driver, [good[0], *bad.values(), *good[1:]])
        assert set(error.refused) == {one.id for one in bad.values()}
        assert error.stored == {one.id for one in good}
    assert QueuedJob.objects.count() == 63


def test_in_a_transaction_of_the_callers_nothing_is(driver):
    for changes in BAD.values():
        one = job(**changes)
        with pytest.raises(QueueUnavailable) as raised, transaction.atomic():  # noqa: PT012
            driver.push([job()])
            driver.push([one])
        assert set(raised.value.refused) == {one.id}
        assert raised.value.stored == set()
    assert not QueuedJob.objects.exists()


@contextlib.contextmanager
def _name_in(charset: str) -> Iterator[None]:
    change = "ALTER TABLE jobs MODIFY name varchar(255) CHARACTER SET {} NOT NULL"
    for each in (charset, "utf8mb4"):
        with connection.cursor() as cursor:
            cursor.execute(change.format(each))
        if each == charset:
            yield
            QueuedJob.objects.all().delete()


@pytest.mark.mariadb
def test_a_character_that_a_column_has_not_is_refused(driver):
    with _name_in("latin1"):
        one, other = job(name="app.💥"), job()
        error = refused(driver, [one, other])
    assert set(error.refused) == {one.id}
    assert error.stored == {other.id}


@pytest.mark.mariadb
def test_what_is_too_large_for_the_server_is_told_with_the_limit(driver):
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@global.max_allowed_packet")
        before = cursor.fetchone()[0]
        cursor.execute("SET GLOBAL max_allowed_packet = 1048576")
    connection.close()
    try:
        many = [job(payload='"' + "x" * 300_000 + '"') for _ in range(6)]
        driver.push(many)  # each of them is small enough
        large, small = job(payload='"' + "x" * 3_000_000 + '"'), job()
        error = refused(driver, [large, small])
        assert error.stored == {small.id}
        for words in ("3,000,002 bytes", "1,048,576", "STORE_ABOVE"):
            assert words in error.refused[large.id]
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"SET GLOBAL max_allowed_packet = {before}")
        connection.close()
    assert QueuedJob.objects.count() == 7


def test_a_settlement_that_is_refused_goes_without_its_history(driver):
    driver.push([job() for _ in range(3)])
    held = driver.exchange([], ["default"], 3).reservations
    histories = ("fine", "\ud800", "fine")
    settlements = [
        Settlement(one, Verdict.RELEASE, history=text)
        for one, text in zip(held, histories, strict=True)
    ]
    assert driver.settle(settlements) == set()
    rows = {str(row.uuid): row.history for row in QueuedJob.objects.all()}
    assert rows == {held[0].id: "fine", held[1].id: "", held[2].id: "fine"}
    assert len(driver.exchange([], ["default"], 3).reservations) == 3


def test_a_release_far_in_the_future_is_one_that_can_be_read(driver):
    driver.push([job()])
    held = driver.exchange([], ["default"], 1).reservations
    assert driver.settle([Settlement(held[0], Verdict.RELEASE, delay=1e15)]) == set()
    assert QueuedJob.objects.get().available_at.year > 6000
    assert driver.promote(["default"]).due_in


@pytest.mark.mariadb
def test_a_dispatch_that_is_a_deadlocks_victim_is_repeated(driver):
    from django.db.utils import OperationalError

    failures = iter([OperationalError(1213, "Deadlock found"), None, None])

    def fails_once(execute, sql, params, many, context):
        if sql.startswith("INSERT") and (failure := next(failures)):
            raise failure
        return execute(sql, params, many, context)

    with connections["default"].execute_wrapper(fails_once):
        driver.push([job()])
    assert QueuedJob.objects.count() == 1
