"""queue_failed, queue_retry, queue_forget, queue_flush, queue_prune_failed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import override_settings
from django.utils import timezone

from djqueue.models import FailedJob, QueuedJob
from djqueue.operations import retrying
from tests.commands.conftest import DJQUEUE
from tests.support import run_command

pytestmark = pytest.mark.django_db(databases=["default", "queue"])

KEYS = ["id", "row", "name", "queue", "connection", "attempts"]
KEYS += ["exception_class", "exception_message", "failed_at"]


def left():
    return {str(row.uuid) for row in FailedJob.objects.all()}


def waiting():
    return {str(job.uuid) for job in QueuedJob.objects.all()}


def make_old(id, hours):
    FailedJob.objects.filter(uuid=id).update(failed_at=timezone.now() - timedelta(hours=hours))


def row_number(id):
    return FailedJob.objects.get(uuid=id).pk


# -- queue_failed --------------------------------------------------------------------------------


def test_failed_jobs_are_listed_newest_first(run, fail):
    old, new = fail(), fail(queue="mail")
    done = run("queue_failed", "--json")
    assert [each["id"] for each in done.objects] == [new, old]
    assert list(done.objects[0])[: len(KEYS)] == KEYS
    assert done.objects[0]["exception_message"] == "it failed\nbadly"


def test_failed_jobs_are_filtered_and_limited(run, fail):
    old, new = fail(name="test.commands.Empty"), fail(queue="mail")
    make_old(old, 3)

    def found(*arguments):
        return [each["id"] for each in run("queue_failed", "--json", *arguments).objects]

    assert found("--queue", "mail") == [new]
    assert found("--name", "test.commands.Empty") == [old]
    assert found("--since", "2h") == [new]
    assert found("--since", "1d") == [new, old]
    assert found("--since", (timezone.now() - timedelta(hours=2)).isoformat()) == [new]
    done = run("queue_failed", "--limit", 1)
    assert len(done.lines) == 2
    assert "These are 1 of 2 failed jobs" in done.err


def test_a_message_of_several_lines_is_one_row(run, fail):
    id = fail()
    head, line = run("queue_failed").lines
    assert head.split("\t")[:2] == ["ID", "ROW"]
    assert line.split("\t")[0] == id
    assert line.endswith("it failed badly")


def test_a_duration_that_is_none_is_wrong_usage(run):
    done = run_command("queue_failed", "--since", "yesterday-ish")
    assert done.returncode == 2
    assert '"yesterday-ish" is not a duration' in done.stderr


@override_settings(DJQUEUE={**DJQUEUE, "FAILED_JOBS": None})
@pytest.mark.parametrize(
    "line", ["queue_failed", "queue_retry all --force", "queue_flush --force", "queue_prune_failed"]
)
def test_without_a_store_the_commands_say_so(run, line):
    done = run(*line.split())
    assert done.code == 1
    assert "No failed jobs are kept" in done.err


# -- queue_retry ---------------------------------------------------------------------------------


def test_an_id_is_retried_at_once(run, fail):
    id, kept = fail(), fail()
    done = run("queue_retry", id[:18])
    assert done.code == 0
    assert done.out.startswith(f"Retried 1 job.\n    test.commands.Send {id} (row ")
    assert (waiting(), left()) == ({id}, {kept})


def test_unknown_ids_are_told_and_the_others_retried(run, fail):
    id = fail()
    done = run("queue_retry", id, "aaaaaaaa")
    assert done.code == 1
    assert 'No failed job has the id "aaaaaaaa"' in done.err
    assert waiting() == {id}
    assert run("queue_retry", "aaaaaaaa").code == 3


def test_all_and_filters_ask_first(run, fail):
    mail, other = fail(queue="mail"), fail()
    for arguments in (["all"], ["--queue", "mail"]):
        done = run("queue_retry", *arguments)
        assert done.code == 2
        assert "Repeat with --force, or look first with --dry-run." in done.err
        assert run("queue_retry", *arguments, answer="\n").code == 1
    assert waiting() == set()
    assert "Retried 1 job.\n" in run("queue_retry", "--queue", "mail", answer="y\n").out
    assert waiting() == {mail}
    assert f"    test.commands.Send {other}" in run("queue_retry", "all", "--force").out
    assert waiting() == {mail, other}
    assert run("queue_retry", "all").out == "There are no failed jobs.\n"


def test_the_range_takes_row_numbers(run, fail):
    ids = [fail() for _ in range(3)]
    span = f"{row_number(ids[0])}-{row_number(ids[1])}"
    assert "2 failed jobs would be retried" in run("queue_retry", "--range", span, "--dry-run").out
    assert run("queue_retry", "--range", span, "--force").code == 0
    assert waiting() == set(ids[:2])


def test_a_filter_of_retry_that_fits_nothing_ends_with_3(run, fail):
    fail()
    assert run("queue_retry", "--queue", "none", "--force").code == 3
    assert run("queue_retry", "--since", "1h", "--name", "x", "--force").code == 3


@pytest.mark.parametrize("line", ["", "all aaaa", "aaaa --queue mail"])
def test_a_wrong_call_of_retry_ends_with_2(run, line):
    assert run("queue_retry", *line.split()).code == 2


def test_a_range_that_is_none_is_wrong_usage(run):
    done = run_command("queue_retry", "--range", "7")
    assert done.returncode == 2
    assert "Row numbers are those of queue_failed, not ids" in done.stderr


def test_what_cannot_go_back_is_told_with_the_reason(run, fail):
    fail(connection="null")
    done = run("queue_retry", "all", "--force")
    assert done.code == 1
    assert "1 job not retried: Connection" in done.err
    assert len(left()) == 1


def test_what_somebody_else_took_is_told(run, fail, monkeypatch):
    id = fail()
    monkeypatch.setattr(retrying, "_take", lambda rows: [])
    done = run("queue_retry", id)
    assert (done.code, done.out) == (0, "Retried 0 jobs.\n")
    assert "1 job had been retried or forgotten by another operator." in done.err


# -- queue_forget, queue_flush, queue_prune_failed -----------------------------------------------


def test_an_id_is_forgotten_at_once(run, fail):
    id, kept = fail(), fail()
    row = row_number(id)
    told = f"Deleted 1 failed job.\n    test.commands.Send {id} (row {row})\n"
    assert run("queue_forget", id).out == told
    assert left() == {kept}
    assert run("queue_forget", id).code == 3
    assert run("queue_forget").code == 2


def test_forgetting_by_filter_asks_first(run, fail):
    fail(queue="mail")
    kept = fail()
    assert run("queue_forget", "--queue", "mail").code == 2
    assert run("queue_forget", "--queue", "mail", "--force").code == 0
    assert left() == {kept}
    assert run("queue_forget", "--queue", "mail", "--force").code == 3


def test_flush_deletes_all_or_what_is_old_after_asking(run, fail):
    old, new = fail(), fail()
    make_old(old, 3)
    assert run("queue_flush").code == 2
    assert "1 failed job would be deleted" in run("queue_flush", "--hours", 2, "--dry-run").out
    assert run("queue_flush", "--hours", 2, "--force").code == 0
    assert left() == {new}
    assert f"1 failed job.\n    test.commands.Send {new}" in run("queue_flush", answer="y\n").out
    assert run("queue_flush").out == "Deleted 0 failed jobs.\n"


def test_prune_never_asks(run, fail):
    old, new = fail(), fail()
    make_old(old, 24 * 8)
    assert "1 failed job would be deleted" in run("queue_prune_failed", "--dry-run").out
    assert run("queue_prune_failed").out.startswith(
        f"Deleted 1 failed job.\n    test.commands.Send {old}"
    )
    assert left() == {new}
    assert run("queue_prune_failed", "--hours", 0).out.startswith("Deleted 1 failed job.\n")
    assert run("queue_prune_failed", "--hours=-1").code == 2
