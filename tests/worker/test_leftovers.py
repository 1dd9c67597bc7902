"""What one job leaves behind does not reach the next."""

from __future__ import annotations

import ast
import platform
import time
from typing import Any

import pytest
from django.db import connections

from djqueue.models import FailedJob
from tests.app import jobs, untidy
from tests.app.models import Note
from tests.support import start_worker, wait_until


def keeping_connections(seconds: int = 600) -> dict[str, Any]:
    """Settings in which a job finds the connections of the one before."""
    databases = {}
    for alias in connections:
        known = {**connections[alias].settings_dict}
        known.pop("TEST", None)
        databases[alias] = {**known, "CONN_MAX_AGE": seconds}
    return {"DATABASES": databases}


def drain(overrides: dict[str, Any] | None = None, **env: str) -> str:
    with start_worker("--stop-when-empty", overrides=overrides, **env) as worker:
        assert worker.wait(60) == 0
        return worker.output


def texts() -> list[str]:
    return [note.text for note in Note.objects.order_by("id")]


def test_a_transaction_that_raw_sql_began_swallows_nothing(ledger):
    untidy.leaves_a_transaction.dispatch(0)
    jobs.write_note.dispatch(1)
    untidy.leaves_a_transaction.dispatch(2)
    jobs.insert_note.dispatch(3)
    output = drain(keeping_connections())
    assert texts() == ["1", "3"]
    if connections["default"].vendor != "mysql" or connections["default"].mysql_is_mariadb:
        assert "app.leaves_a_transaction left a transaction open" in output


def test_a_session_that_was_closed_is_opened_anew(ledger):
    jobs.write_note.dispatch(1)
    untidy.closes_its_session.dispatch()
    jobs.write_note.dispatch(2)
    drain(keeping_connections())
    assert texts() == ["1", "2"]


@pytest.mark.anywhere
def test_after_a_timeout_that_became_another_error_the_process_is_a_new_one(
    ledger,
):
    untidy.translates_its_timeout.dispatch()
    jobs.record.dispatch(1)
    jobs.write_note.dispatch(1)
    drain(keeping_connections())
    assert texts() == ["1"]
    assert FailedJob.objects.get().exception_class == "djqueue.errors.TimeoutExceeded"
    interrupted, after = (line.pid for line in ledger.lines("begin"))
    assert interrupted != after


def test_a_connection_that_grew_old_while_nothing_ran_is_not_used(ledger):
    with start_worker(overrides=keeping_connections(1)):
        for number in (1, 2):
            untidy.same_session.dispatch()
            wait_until(lambda number=number: len(ledger.lines("same")) == number)
            time.sleep(1.6)
    assert ledger.details("same") == ["False", "False"]


@pytest.mark.anywhere
def test_the_process_is_as_it_was_before(ledger):
    given = {"DJQUEUE_TEST_GIVEN": "yes"}
    untidy.looks_around.dispatch()
    untidy.upsets_its_process.dispatch()
    untidy.looks_around.dispatch()
    untidy.upsets_its_process.dispatch()
    untidy.sleeps_beyond_its_timeout.dispatch()
    output = drain(**given)
    before, after = (ast.literal_eval(text) for text in ledger.details("around"))
    assert before == after
    assert before[-1] == [None, "yes"]
    assert output.count("changed signal handlers of its process") == 1
    row = FailedJob.objects.get()
    assert row.exception_class == "djqueue.errors.TimeoutExceeded"
    assert "was stopped" in row.exception_message, "by its own timer, not by its parent"


@pytest.mark.anywhere
@pytest.mark.parametrize(("how", "code"), [("raises", "1"), ("returns", "0"), ("exits", "7")])
def test_a_forked_twin_ends_where_it_would_return(ledger, how, code):
    untidy.forks_a_twin.dispatch(how)
    jobs.record.dispatch(1)
    output = drain()
    assert ledger.details("twin") == [code]
    assert ledger.details("end") == [how, "1"]
    assert len({line.pid for line in ledger.lines("end")}) == 1
    assert not FailedJob.objects.exists()
    assert texts() == [how]
    assert output.count("DONE") == 2
    assert ("ValueError: in the twin" in output) == (how == "raises")


@pytest.mark.anywhere
def test_sys_exit_is_told_with_its_code_and_costs_no_process(ledger):
    jobs.record.dispatch(1)
    untidy.exits.dispatch()
    jobs.record.dispatch(2)
    output = drain()
    row = FailedJob.objects.get()
    assert (row.exception_class, row.exception_message) == ("SystemExit", "3")
    assert "sys.exit(3)" in row.exception
    assert "SystemExit: 3" in output
    assert len({line.pid for line in ledger.lines("end")}) == 1


@pytest.mark.anywhere
def test_memory_does_not_grow_with_failed_attempts(ledger):
    for _ in range(3):
        untidy.fails_with_much_in_hand.dispatch()
    drain()
    sizes = [int(text) for text in ledger.details("memory")]
    assert len(sizes) == 60
    unit = 1 if platform.system() == "Darwin" else 1024
    assert (sizes[-1] - sizes[5]) * unit < 20 << 20
