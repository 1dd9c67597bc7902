"""How the statement of a reserve that a worker has prepared is planned, with a deep queue."""

from __future__ import annotations

import re
import time

import pytest
from django.db import connection, connections, transaction

from djqueue.drivers.base import OutgoingJob, Settlement, WorkerIdentity
from djqueue.drivers.database import DatabaseDriver
from djqueue.payload.ids import Moment
from tests import databases
from tests.faces import database

pytestmark = pytest.mark.django_db(transaction=True)

WAITING, DELAYED = 20_000, 5_000
INDEX = "djqueue_jobs_line"


@pytest.fixture
def driver():
    """A driver with many delayed jobs."""
    if connection.vendor == "postgresql":
        _run("TRUNCATE jobs")  # of rows that were deleted before something would be left
    driver = database()
    _push(driver, DELAYED, 3600.0)
    yield driver
    driver.close()
    del connections["default"]


def _push(driver: DatabaseDriver, count: int, delay: float = 0.0) -> None:
    ids = Moment(time.time_ns()).ids(count)
    jobs = [(id, "default", "job", "{}", delay) for id in ids]
    driver.push([OutgoingJob(*job) for job in jobs])


@pytest.mark.postgresql
@pytest.mark.parametrize("gathered", [False, True])
def test_postgresql_walks_the_line_and_looks_up_by_key(driver, gathered):
    _push(driver, WAITING)
    _never_gather()
    if gathered:
        _run("ANALYZE jobs")
    plan = _plan_of_prepared(driver)
    taken, _, updated = plan.partition("CTE taken")[2].partition("CTE reserved")
    assert f"Index Scan using {INDEX}" in taken
    assert "Sort" not in taken
    assert "Seq Scan on jobs" not in plan
    assert "jobs_pkey" in updated


@pytest.mark.postgresql
def test_postgresql_does_not_walk_through_what_is_delayed(driver):
    """The last jobs of a queue, too, are found without a look at those that are not due."""
    _push(driver, 5)
    plan = _plan_of_prepared(driver, "ANALYZE, BUFFERS, TIMING OFF")
    scan = plan.partition(f"Index Scan using {INDEX}")[2]
    assert int(re.findall(r"shared hit=(\d+)", scan)[0]) < 20


@pytest.mark.postgresql
def test_a_prepared_settlement_is_undone_with_its_transaction(driver):
    _push(driver, 1)
    _plan_of_prepared(driver)
    held = driver.unacknowledged([])
    assert len(held) == 1
    with transaction.atomic():
        assert driver.settle([Settlement(held[0])]) == set()
        transaction.set_rollback(True)
    assert driver.unacknowledged([]) == held


@pytest.mark.postgresql
@pytest.mark.parametrize("gathered", [False, True])
def test_postgresql_walks_the_line_of_many_queues_too(driver, gathered):
    _push(driver, WAITING)
    _never_gather()
    if gathered:
        _run("ANALYZE jobs")
    driver.join(WorkerIdentity("worker", "host", 1, ("default",), 20.0))
    driver.watch(["default"])
    driver.exchange([], [*(f"empty {number}" for number in range(50)), "default"], 1)
    name = _run("SELECT name FROM pg_prepared_statements WHERE statement LIKE '%%asked%%'")[0][0]
    plan = "\n".join(
        str(row[0])
        for row in _run(f"EXPLAIN EXECUTE \"{name}\" ('{{a,default}}', 100, 100, 90.0, 1)")
    )
    assert f"Index Scan using {INDEX}" in plan
    assert "Sort Key: jobs" not in plan
    assert "Seq Scan on jobs" not in plan


def _plan_of_prepared(driver: DatabaseDriver, options: str = "VERBOSE false") -> str:
    driver.join(WorkerIdentity("worker", "host", 1, ("default",), 20.0))
    driver.watch(["default"])
    driver.exchange([], ["default"], 1)
    name = _run("SELECT name FROM pg_prepared_statements WHERE statement LIKE '%%taken%%'")[0][0]
    rows = _run(f"EXPLAIN ({options}) EXECUTE \"{name}\" ('default', 100, 90.0, 1)")
    return "\n".join(str(row[0]) for row in rows)


@pytest.mark.skipif(databases.vendor() != "sqlite", reason="another database is under test")
@pytest.mark.parametrize("gathered", [False, True])
def test_sqlite_walks_the_line(driver, gathered):
    from djqueue.drivers.database.vendors import sqlite

    _push(driver, WAITING)
    if gathered:
        _run("ANALYZE jobs")
    plan = _run(f"EXPLAIN QUERY PLAN {sqlite._RESERVE}", [90.0, 1, "default", 100])
    steps = "\n".join(row[3] for row in plan)
    assert f"SEARCH jobs USING COVERING INDEX {INDEX}" in steps
    assert "TEMP B-TREE" not in steps
    assert "SCAN" not in steps


def _never_gather() -> None:
    """The rows are new, and nobody has looked at them; earlier tests' statistics are forgotten."""
    _run("DELETE FROM pg_statistic WHERE starelid = 'jobs'::regclass")
    _run("UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE oid = 'jobs'::regclass")


def _run(statement: str, params: list[object] | None = None) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return list(cursor.fetchall()) if cursor.description else []
