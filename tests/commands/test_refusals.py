"""What a command refuses before it does anything."""

from __future__ import annotations

import sys

import pytest
from django.core.management import call_command
from django.test import override_settings

from djqueue import queues
from djqueue.models import FailedJob
from tests.commands.conftest import DJQUEUE, Terminal
from tests.commands.jobs import Send

pytestmark = pytest.mark.django_db(databases=["default", "queue"])

MISTYPED = override_settings(DJQUEUE={**DJQUEUE, "DEFALT": "redis"})
CHANGING = [
    ["queue_pause", "mail"],
    ["queue_resume", "mail"],
    ["queue_restart"],
    ["queue_clear", "--force"],
    ["queue_delete", "aaaaaaaa"],
    ["queue_release", "--stuck", "--force"],
    ["queue_retry", "all", "--force"],
    ["queue_forget", "aaaaaaaa"],
    ["queue_flush", "--force"],
    ["queue_prune_failed"],
    ["queue_dispatch", "test.commands.Empty"],
    ["queue_work", "--once"],
    ["queue_listen", "--once"],
]


@MISTYPED
@pytest.mark.parametrize("line", CHANGING, ids=lambda line: line[0])
def test_what_changes_something_does_not_run_on_settings_that_are_wrong(run, line):
    done = run(*line)
    assert done.code == 1
    assert "(djqueue.E002)" in done.err
    assert 'Did you mean "DEFAULT"?' in done.err


@MISTYPED
@pytest.mark.parametrize("command", ["queue_status", "queue_jobs", "queue_failed"])
def test_what_only_looks_runs_all_the_same(run, command):
    assert run(command).code == 0


@MISTYPED
def test_the_checks_can_be_skipped(run):
    assert run("queue_pause", "mail", "--skip-checks").code == 0
    assert queues["database"].is_paused("mail")


@override_settings(DJQUEUE={**DJQUEUE, "DEFALT": "x"}, SILENCED_SYSTEM_CHECKS=["djqueue.E002"])
def test_a_silenced_check_stops_nothing(run):
    assert run("queue_pause", "mail").code == 0


@pytest.mark.parametrize("names", ["", " ", ",", "low,,high", "low,"])
@pytest.mark.parametrize("line", [["queue_work", "--once"], ["queue_clear", "--force"]])
def test_a_queue_without_a_name_is_wrong_usage(run, line, names):
    done = run(*line, "--queue", names)
    assert done.code == 2
    assert "--queue " in done.err


@pytest.mark.parametrize("value", ["-1", "1.5", "many", "²"])
def test_a_number_of_children_that_is_none(run, value):
    done = run("queue_work", "--workers", value)
    assert done.code == 2
    assert "a number of 0 or more, or auto" in done.err


def test_no_memory_at_all_is_no_limit(run):
    assert run("queue_work", "--memory", "0").code == 2


def test_an_interrupt_at_a_question_changes_nothing(fail, monkeypatch):
    fail()

    class Interrupted(Terminal):
        def readline(self, *args):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Interrupted())
    with pytest.raises(SystemExit, match="130"):
        call_command("queue_flush", stderr=Terminal())
    assert FailedJob.objects.count() == 1


def test_a_row_number_is_no_id(run, fail):
    ids = [fail() for _ in range(16)]
    for row in FailedJob.objects.values_list("id", flat=True):
        for command in ("queue_forget", "queue_retry", "queue_show"):
            assert run(command, str(row)).code == 3
    assert FailedJob.objects.count() == len(ids)


@pytest.mark.parametrize("part", [slice(-5, None), slice(0, 5), slice(-1, None)])
def test_a_short_part_of_an_id_acts_on_nothing(run, fail, part):
    failed, queued = fail(), Send(1).dispatch().id
    for command, id in (("queue_forget", failed), ("queue_delete", queued)):
        done = run(command, id[part])
        assert done.code == 3
        assert "too short" in done.err or "is not a job id" in done.err
