"""Lists on a terminal: a job is found, told from others and understood at 80 columns."""

from __future__ import annotations

import shlex
from datetime import timedelta

import pytest
from django.core.management import get_commands, load_command_class
from django.utils import timezone

from djqueue.management import base
from djqueue.models import FailedJob, QueuedJob, Worker
from djqueue.payload import history
from djqueue.text.short_ids import short
from djqueue.text.width import cut, padded, width
from tests.commands.jobs import Empty, Send, Shown

pytestmark = pytest.mark.django_db(databases=["default", "queue"])


@pytest.fixture(autouse=True)
def _columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_a_failed_job_has_two_lines_with_when_which_how_often_and_why(run, fail):
    id = fail(queue="mail")
    FailedJob.objects.update(failed_at=timezone.now() - timedelta(minutes=2))
    head, first, second = run("queue_failed", terminal=True).lines
    assert head.split() == ["FAILED", "NAME", "QUEUE", "ATTEMPTS", "ID"]
    assert first.split() == ["2", "min", "ago", "test.commands.Send", "mail", "2", short(id)]
    row = FailedJob.objects.get().pk
    assert second == f"  ↳ row {row} · ValueError: it failed badly"


def test_names_of_any_length_and_width_leave_the_id_whole(run, fail):
    ids = [
        fail(name="shop." + "긴이름" * 40, queue="대기열" * 26),
        fail(name="a" * 255, queue="b" * 80),
    ]
    FailedJob.objects.update(exception_message="メッセージ" * 100)
    lines = run("queue_failed", terminal=True).lines
    assert max(map(width, lines)) == 80
    assert [line.split()[-1] for line in lines[1::2]] == [short(id) for id in reversed(ids)]


def test_a_stored_job_says_who_runs_it_what_went_wrong_and_its_arguments(run, reserve):
    Send(4, text="hello").dispatch()
    past = history.add(history.read(""), history.Entry(1, "raised", "OSError", "503"))
    QueuedJob.objects.update(history=past)
    _head, first, second = run("queue_jobs", terminal=True).lines
    assert first.split()[-5:] == ["test.commands.Send", "mail", "waiting", "0", first[-8:]]
    assert second.startswith('  ↳ OSError: 503 · number=4, text="hello"')
    now = timezone.now()
    worker = Worker.objects.create(
        name="web-1:42", pid=42, started_at=now, alive_until=now + timedelta(hours=1)
    )
    reserve("mail")
    QueuedJob.objects.update(reserved_by=worker.pk)
    assert "↳ worker web-1:42 · OSError: 503" in run("queue_jobs", terminal=True).out


def test_json_has_what_the_table_shows(run, fail):
    Shown(order=4, password="x").using(tries=3).dispatch()
    (job,) = run("queue_jobs", "--json").objects
    assert (job["tries"], job["worker"], job["last_error"]) == (3, None, None)
    assert job["display_name"].startswith("Order 4 ")
    assert job["arguments"]["order"] == 4
    assert job["arguments"]["password"] != "x"
    fail()
    assert "tries" in run("queue_failed", "--json").objects[0]


def test_nothing_to_list_is_said_with_the_name_that_was_meant(run, fail):
    assert run("queue_failed", terminal=True).out == "No failed jobs.\n"
    assert run("queue_jobs", terminal=True).out == "No jobs.\n"
    fail(queue="invoices")
    assert (
        'Did you mean "invoices"?' in run("queue_failed", "--queue", "invoice", terminal=True).out
    )
    assert 'Did you mean "mail"?' in run("queue_jobs", "--queue", "mial", terminal=True).out
    assert 'Did you mean "mail"?' in run("queue_delete", "--queue", "mial").err
    assert 'Did you mean "invoices"?' in run("queue_retry", "--queue", "invoics", "--force").err
    assert 'Did you mean "mail"?' in run("queue_resume", "mial").err
    assert (
        'Did you mean "mail"?'
        in run("queue_dispatch", "test.commands.Empty", "--queue", "mial").err
    )


def test_a_short_id_may_be_copied_as_it_is_shown(run):
    id = Empty().dispatch().id
    assert f"id: {id}" in run("queue_show", f"…{short(id)}").lines


def test_ctrl_c_at_a_question_leaves_without_a_traceback(run, fail, monkeypatch):
    id = fail()

    def interrupt():
        raise KeyboardInterrupt

    answer = type(
        "Terminal", (), {"isatty": lambda self: True, "readline": lambda self: interrupt()}
    )
    monkeypatch.setattr(base.sys, "stdin", answer())
    with pytest.raises(SystemExit) as ended:
        base.QueueCommand().confirm("This deletes all.", {"force": False})
    assert ended.value.code == 130
    done = run("queue_flush", answer="n\n")
    assert (done.code, done.err.splitlines()[-1]) == (
        1,
        "This deletes 1 failed job. Continue? [y/N] Stopped. Nothing was changed.",
    )
    assert FailedJob.objects.filter(uuid=id).exists()


def test_width():
    assert [width(text) for text in ("ab", "한글", "é", "👍🏽", "a\u200db")] == [2, 4, 1, 4, 2]
    assert cut("한글한글", 5) == "한글…"
    assert cut("한글한글", 8) == "한글한글"
    assert padded("한", 4) == "한  "
    assert padded("한글", 2) == "… "
    assert padded("shop.jobs.SendReceipt", 12) == "sho…dReceipt"
    assert width(padded("한글한글한글", 8)) == 8


COMMANDS = sorted(name for name, app in get_commands().items() if app == "djqueue")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_two_examples_that_it_understands_and_says_its_defaults(name):
    command = load_command_class("djqueue", name)
    parser = command.create_parser("manage.py", name)
    assert len(command.examples) >= 2
    for example in command.examples:
        called, *arguments = shlex.split(example)
        assert called == name
        parser.parse_args(arguments)
        assert f"  python manage.py {example}" in parser.format_help().splitlines()
    for action in parser._actions[8:]:
        if not (action.default in (None, False, "") or action.dest in ("settings", "verbosity")):
            assert "default:" in action.help or action.default == [], action
