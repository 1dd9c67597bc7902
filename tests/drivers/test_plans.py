"""Each statement of the hot path goes by its index, whatever the planner knows or believes.

With `DJQUEUE_TEST_PLANS` in the environment, the plans are written to that file, for the page
about them.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.db import connection, connections

from djqueue.drivers.base import OutgoingJob, Settlement, WorkerIdentity
from djqueue.drivers.database import DatabaseDriver
from djqueue.drivers.database.vendors.dialect import PROMOTE_SLICE
from djqueue.models import QueuedJob, Worker
from tests import databases, support
from tests.faces import database

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = int(os.environ.get("DJQUEUE_TEST_PLAN_ROWS", "20000"))
VENDOR = databases.vendor()
MANY = [*(f"queue {number}" for number in range(60)), "default", "due"]
LINE, HELD = "djqueue_jobs_line", "djqueue_jobs_held"
KEY = {"postgresql": "jobs_pkey", "sqlite": "INTEGER PRIMARY KEY", "mariadb": "PRIMARY"}[VENDOR]
# All that waits, not the few that were taken.
SORTS = {
    "postgresql": r"Sort Key: jobs\S*line|Sort Key: jobs\S*available_at",
    "sqlite": "TEMP B-TREE",
    "mariadb": "filesort",
}[VENDOR]


class Plan(NamedTuple):
    """How the database carries out one statement."""

    sql: str
    text: str

    @property
    def scans(self) -> list[str]:
        """Where it reads the whole table."""
        lines = self.text.splitlines()
        if VENDOR == "postgresql":
            return [line for line in lines if re.search(r"Seq Scan on jobs", line)]
        if VENDOR == "sqlite":
            return [line for line in lines if re.search(r"SCAN jobs(?! USING.*INDEX)", line)]
        whole = r"\tjobs\tALL\t|\tjobs\tindex\t.*\tPRIMARY\t"
        return [line for line in lines if re.search(whole, f"\t{line}\t")]


@pytest.fixture
def driver(transactional_db):
    """Not joined: its statements go through Django's cursor, where they can be seen."""
    return database()


def fill(driver: DatabaseDriver, rows: int) -> None:
    """As many rows that wait as rows that are delayed, and some in the hands of the dead."""
    for delay in (0.0, 3600.0):
        for start in range(0, rows, 1000):
            driver.push([_job(delay) for _ in range(start, min(start + 1000, rows))])
    dead = Worker.objects.create(
        name="dead", hostname="h", pid=1, connection="database", queues="default",
        started_at="2026-01-01T00:00Z", alive_until="2026-01-01T00:00Z",
    )  # fmt: skip
    held = driver.exchange([], ["default"], 200).reservations
    QueuedJob.objects.filter(uuid__in=[r.id for r in held[:100]]).update(reserved_by=dead.pk)


def _job(delay: float = 0.0, queue: str = "default") -> OutgoingJob:
    return OutgoingJob(str(uuid.uuid4()), queue, "app.record", '{"v":1}' * 20, delay)


def plans_of(driver: DatabaseDriver) -> dict[str, list[Plan]]:
    """Carry out each operation once, and ask for the plan of each statement on the table."""
    statements: list[tuple[str, Any]] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append((sql, params))
        return execute(sql, params, many, context)

    def explained(action: Callable[[], object]) -> list[Plan]:
        statements.clear()
        with connection.execute_wrapper(note):
            action()
        return [_plan(sql, params) for sql, params in statements if "jobs" in sql]

    for queue in ("due", "due too"):
        driver.push([_job(600, queue) for _ in range(50)])
    due = QueuedJob.objects.filter(queue__startswith="due")
    due.update(available_at="2026-01-01T00:00Z", line=None)
    held = driver.exchange([], ["default"], 100).reservations
    done = [Settlement(reservation) for reservation in held[:50]]
    one = driver.exchange([], ["default"], 1).reservations
    return {
        "settle 50 and reserve 100": explained(lambda: driver.exchange(done, ["default"], 100)),
        "reserve 1": explained(lambda: driver.exchange([], ["default"], 1)),
        "settle 1 and reserve 1 from two queues": explained(
            lambda: driver.exchange([Settlement(one[0])], ["empty", "default"], 1)
        ),
        "reserve from many queues": explained(lambda: driver.exchange([], MANY, 100)),
        "reserve from many empty queues": explained(lambda: driver.exchange([], MANY[:-2], 100)),
        "next due of many": explained(lambda: driver._calls.dialect.next_due(MANY)),
        "promote many": explained(lambda: driver._calls.dialect.promote_all(["empty", "due too"])),
        "reserve from an empty queue": explained(lambda: driver.exchange([], ["empty"], 100)),
        "next due": explained(lambda: driver.promote(["default"])),
        "promote": explained(lambda: driver._calls.dialect.promote("due")),
        "extend": explained(lambda: driver.extend(held[50:])),
        "take over": explained(lambda: driver.recover(100)),
        "take over nothing": explained(lambda: driver.recover(100)),
    }


def _plan(sql: str, params: Any) -> Plan:
    explain = {"postgresql": "EXPLAIN (COSTS OFF) ", "sqlite": "EXPLAIN QUERY PLAN "}
    with connection.cursor() as cursor:
        cursor.execute(explain.get(VENDOR, "EXPLAIN ") + sql, params)
        rows = cursor.fetchall()
    if VENDOR == "mariadb":
        return Plan(sql, "\n".join("\t".join(str(cell) for cell in row) for row in rows))
    return Plan(sql, "\n".join(str(row[-1]) for row in rows))


def _forget_statistics() -> None:
    """As if the table had never been analysed."""
    with connection.cursor() as cursor:
        if VENDOR == "postgresql":
            cursor.execute("DELETE FROM pg_statistic WHERE starelid = 'jobs'::regclass")
            cursor.execute(
                "UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE relname = 'jobs'"
            )
        elif VENDOR == "mariadb":
            for table in ("innodb_index_stats", "innodb_table_stats"):
                cursor.execute(
                    f"DELETE FROM mysql.{table} WHERE table_name = 'jobs'"
                    " AND database_name = DATABASE()"
                )
            cursor.execute("FLUSH TABLES jobs")
        elif "sqlite_stat1" in connection.introspection.table_names(cursor):
            cursor.execute("DELETE FROM sqlite_stat1")
    if VENDOR == "sqlite":
        connection.close()


def _gather_statistics() -> None:
    with connection.cursor() as cursor:
        if VENDOR == "mariadb":
            cursor.execute("ANALYZE TABLE jobs, djqueue_workers")
            cursor.fetchall()
        else:
            cursor.execute("ANALYZE")


@pytest.fixture
def no_statistics_by_themselves(transactional_db):
    """Only those that the test gathers."""
    with connection.cursor() as cursor:
        if VENDOR == "postgresql":
            cursor.execute("ALTER TABLE jobs SET (autovacuum_enabled = false)")
        elif VENDOR == "mariadb":
            cursor.execute("ALTER TABLE jobs STATS_AUTO_RECALC = 0")
    yield
    with connection.cursor() as cursor:
        if VENDOR == "postgresql":
            cursor.execute("ALTER TABLE jobs RESET (autovacuum_enabled)")
        elif VENDOR == "mariadb":
            cursor.execute("ALTER TABLE jobs STATS_AUTO_RECALC = DEFAULT")
    _forget_statistics()


def test_every_statement_goes_by_its_index(driver, no_statistics_by_themselves):
    _forget_statistics()
    _gather_statistics()  # of an empty table
    fill(driver, ROWS)
    written = []
    for state, change in (
        ("gathered when the table was empty", lambda: None),
        ("never gathered", _forget_statistics),
        ("fresh", _gather_statistics),
    ):
        change()
        plans = plans_of(driver)
        _check(plans, state)
        written.append((state, plans))
    _write(written)


def test_the_page_about_plans_has_the_statements_of_today(driver):
    fill(driver, 400)
    page = " ".join((support.ROOT / "docs" / "query-plans.md").read_text().split())
    for name, plans in plans_of(driver).items():
        if name in ("settle 50 and reserve 100", "next due", "promote"):
            for plan in plans:
                assert _shortened(plan.sql) in page, f"{name}: {plan.sql}"


def _shortened(sql: str) -> str:
    """As on the page: long lists of parameters cut short."""
    sql = re.sub(r"\((%s, ){4,}%s\)", "(%s, …)", sql.replace("%%", "%"))
    return re.sub(r"\(VALUES (\(%s, %s\), ){3,}\(%s, %s\)\)", "(VALUES (%s, %s), …)", sql)


def _check(plans: dict[str, list[Plan]], state: str) -> None:
    for name, each in plans.items():
        for plan in each:
            assert not plan.scans, f"{name}, statistics {state}:\n{plan.sql}\n{plan.text}"
        text = "\n".join(plan.text for plan in each)
        if "reserve" in name or "due" in name or "promote" in name:
            assert LINE in text, f"{name}, statistics {state}:\n{text}"
        if "reserve" in name or "next due" in name:
            assert not re.search(SORTS, text), f"{name}, statistics {state}:\n{text}"
        if "settle" in name or "promote" in name or name == "extend":
            assert KEY in text, f"{name}, statistics {state}:\n{text}"
        if "take over" in name:
            assert HELD in text, f"{name}, statistics {state}:\n{text}"


def _write(written: list[tuple[str, dict[str, list[Plan]]]]) -> None:
    place = os.environ.get("DJQUEUE_TEST_PLANS")
    if place is None:
        return
    with Path(place).open("a") as file:
        for state, plans in written:
            file.write(f"##### {VENDOR}, statistics {state}\n")
            for name, each in plans.items():
                file.writelines(f"### {name}\n{p.sql}\n---\n{p.text}\n\n" for p in each)


@pytest.mark.parametrize("limit", [1, 7, 100])
@pytest.mark.parametrize(
    "off",
    [
        (),
        ("hashjoin", "mergejoin", "hashagg", "sort", "material"),
        ("nestloop",),
        ("indexscan", "bitmapscan", "indexonlyscan"),
        ("seqscan", "hashjoin", "mergejoin"),
    ],
)
@pytest.mark.postgresql
def test_no_plan_takes_more_than_the_limit(driver, off, limit):
    """A sub-select with LIMIT that is run once a row would; a materialised one is run once."""
    driver.push([_job() for _ in range(PROMOTE_SLICE + 200)])
    with connection.cursor() as cursor:
        for setting in off:
            cursor.execute(f"SET enable_{setting} = off")
    try:
        first = driver.exchange([], ["default"], limit).reservations
        many = driver.exchange([], ["empty", "default", "other"], limit).reservations
        assert len(many) == limit
        driver.settle([Settlement(r) for r in many])
        second = driver.exchange([Settlement(r) for r in first], ["empty", "default"], limit)
        assert len(first) == len(second.reservations) == limit
        assert QueuedJob.objects.filter(reserved_by__isnull=False).count() == limit
        QueuedJob.objects.filter(reserved_by__isnull=False).update(
            reserved_by=4711, reserved_until="2026-01-01T00:00Z"
        )
        assert len(driver.recover(1)) == 1
        QueuedJob.objects.update(reserved_by=None, line=None, available_at="2026-01-01T00:00Z")
        assert driver._calls.dialect.promote("default") == PROMOTE_SLICE
    finally:
        connection.close()


@pytest.mark.postgresql
def test_a_generic_plan_of_a_prepared_statement_goes_by_its_index_too(
    driver, no_statistics_by_themselves
):
    """After a few executions the server may plan without knowing the values."""
    fill(driver, 3000)
    own = database()
    own.join(WorkerIdentity("worker", "host", 1, ("default",), 20.0))
    try:
        assert own.watch(["default"]) is not None
        held = own.exchange([], ["default"], 10).reservations
        held = own.exchange([Settlement(r) for r in held], ["default"], 10).reservations
        held = own.exchange([Settlement(r) for r in held], MANY, 10).reservations
        own.exchange([], MANY, 10)
        texts = _generic_plans()
        own.leave()
    finally:
        own.close()
        del connections["default"]
    assert len(texts) == 4
    for text in texts:
        assert LINE in text, text
        assert "Seq Scan" not in text, text
        assert not re.search(SORTS, text), text


def _generic_plans() -> list[str]:
    """Those of this session's prepared statements that reserve."""
    texts = []
    with connection.cursor() as cursor:
        cursor.execute("SET plan_cache_mode = force_generic_plan")
        cursor.execute("SELECT name, statement FROM pg_prepared_statements")
        for name, statement in cursor.fetchall():
            if "UPDATE jobs" in statement:
                settled = ["'{1,2}'", "'{1,1}'"] if "settled" in statement else []
                queues = ["'{a,default}'", "100", "100"] if "asked" in statement else []
                values = ", ".join([*settled, *(queues or ["'default'", "100"]), "20", "1"])
                cursor.execute(f"EXPLAIN (COSTS OFF) EXECUTE {name}({values})")
                texts.append("\n".join(row[0] for row in cursor.fetchall()))
    return texts
