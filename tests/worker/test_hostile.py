"""Good jobs run, whatever stands in the table among them; and nothing bad vanishes."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable

import pytest
from django.db import connection

from djqueue import dispatch_many
from djqueue.finish.failed import storable
from djqueue.models import FailedJob, QueuedJob
from tests import databases, hostile
from tests.app import jobs
from tests.hostile import FORGED, Row
from tests.ledger import Ledger
from tests.support import start_worker

LARGEST = int(os.environ.get("DJQUEUE_TEST_LARGEST", str(1 << 20)))


@pytest.fixture(autouse=True)
def no_grace(settings):
    settings.DJQUEUE = {"UNKNOWN_JOB_GRACE": 0}


def insert(rows: Iterable[Row]) -> list[Row]:
    """Write rows past djqueue; those that the database takes."""
    inserted = []
    for row in rows:
        columns = {
            "queue": "default",
            "name": row.name,
            "payload": row.text(),
            "uuid": row.id
            if connection.features.has_native_uuid_field
            else row.id.replace("-", ""),
            "available_at": "2026-01-01 00:00:00",
            "created_at": "2026-01-01 00:00:00",
            "line": 0,
            "priority": 0,
            "attempts": 0,
            "reservation": 0,
            "interruptions": 0,
            "history": "",
            **row.columns,
        }
        if _taken(columns):
            inserted.append(row)
    return inserted


def _taken(columns: dict[str, object]) -> bool:
    marks = [
        # Bytes that stand in a column of text.
        "CAST(%s AS TEXT)" if isinstance(value, bytes) else "%s"
        for value in columns.values()
    ]
    sql = f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({', '.join(marks)})"
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, list(columns.values()))
    except (ValueError, connection.Database.Error):
        return False  # PostgreSQL takes no NUL, psycopg no surrogate
    except Exception as error:
        if isinstance(error.__cause__, connection.Database.Error):
            return False
        raise
    return True


def work(*arguments: object) -> str:
    """Run a worker until the queue is empty; what it printed."""
    with start_worker("--stop-when-empty", *arguments) as worker:
        assert worker.wait(180) == 0
        return worker.output


def run_among_good_ones(rows: list[Row], ledger: Ledger, *arguments: object) -> str:
    """Have one worker go through `rows`, a good job before each."""
    good = len(rows)
    inserted: list[Row] = []
    for number, row in enumerate(rows):
        insert([Row("good", hostile.payload(hostile.one("number", str(number))))])
        inserted += insert([row])
    rows[:] = inserted
    output = work(*arguments)
    print(output)
    ran = Counter(ledger.details("end"))
    wrong = {number: ran[str(number)] for number in range(good) if ran[str(number)] != 1}
    assert not wrong, {rows[number].label: times for number, times in wrong.items()}
    assert not QueuedJob.objects.exists()
    return output


def test_bad_payloads_fail_and_good_ones_run(ledger):
    rows, _ = hostile.every(databases.vendor(), LARGEST)
    output = run_among_good_ones(rows, ledger)
    failed = {str(row.uuid): row for row in FailedJob.objects.all()}
    assert [row.label for row in rows if row.id not in failed] == []
    for row in rows:
        kept, text = failed[row.id], row.text()
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        assert kept.payload == storable(text), row.label
        assert kept.exception_class, row.label
        assert kept.exception, row.label
    assert_nothing_was_forged(output)


def test_strange_rows_come_to_an_end(ledger):
    _, rows = hostile.every(databases.vendor(), LARGEST)
    output = run_among_good_ones(rows, ledger, "--tries", 1)
    ended = set(ledger.count("end")) | {
        str(u) for u in FailedJob.objects.values_list("uuid", flat=True)
    }
    assert [row.label for row in rows if row.id not in ended] == []
    assert_nothing_was_forged(output)


@pytest.mark.mariadb
def test_a_payload_that_just_fitted_into_the_jobs_can_fail_too(ledger):
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        most = cursor.fetchone()[0]
    assert insert([Row("just fits", "x" * (most - 900))])
    dispatch_many(jobs.record.bind(number) for number in range(20))
    work()
    assert FailedJob.objects.get().payload.startswith("xxx")
    assert len(ledger.lines("end")) == 20


@pytest.mark.anywhere
@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_name_forges_no_line_about_the_worker_either(ledger, arguments):
    told = hostile.payload("{}", name='"app.DiesWhenTold"')
    insert([Row("dies when told", told, name=hostile.FORGERY)])
    output = work(*arguments)
    assert "failed() ended its process" in output
    if arguments:
        assert all(isinstance(json.loads(line), dict) for line in output.splitlines())
    else:
        assert_nothing_was_forged(output)


def assert_nothing_was_forged(output: str) -> None:
    """Each line of a worker begins as its lines do, and none moves the cursor."""
    for line in output.split("\n"):
        assert line.isprintable(), repr(line)
        assert not line.startswith(FORGED), line
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  |  |Processing jobs|$", line), line


@pytest.mark.anywhere
def test_one_that_kills_the_worker_s_children_is_among_the_failed(ledger):
    dispatch_many(jobs.record.bind(number) for number in range(20))
    rows = insert([Row("dies", hostile.payload("{}", name='"app.exits"'), name="app.exits")])
    work("--tries", 1)
    assert FailedJob.objects.get().uuid.hex == rows[0].id.replace("-", "")
    assert len(ledger.lines("end")) == 20
