"""Management commands that jobs run: checked at the call, their output kept."""

from __future__ import annotations

import io

import pytest
from django.test import override_settings

from djqueue import queue_command
from djqueue.commands import KEPT, QueuedCommand
from djqueue.errors import CommandFailed, InvalidCommand
from djqueue.models import FailedJob, JobResult, QueuedJob
from djqueue.testing import fake_queue, work
from djqueue.text.tracebacks import add_note, formatted

pytestmark = pytest.mark.django_db


def test_the_output_is_the_result():
    dispatched = queue_command("speak", "hello", "you", times=2).using(queue="slow").dispatch()
    queued = QueuedJob.objects.get()
    assert (queued.name, queued.queue) == ("djqueue.command", "slow")
    assert work(raise_errors=True) == 1
    assert dispatched.result() == {
        "exit_code": 0,
        "output": "hello you\nhello you\nprinted\nto stderr\n",
    }
    assert dispatched.progress.message == "to stderr"


def test_it_is_named_after_the_command(run):
    queue_command("speak", "hello").dispatch()
    assert "command speak" in run("queue_jobs").out


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [("exit", 3, "printed"), ("text", 1, "a reason"), ("error", 4, "CommandError: refused")],
)
def test_another_exit_code_fails_the_job_and_shows_the_output(end, code, words):
    queue_command("speak", "hello", end=end).using(tries=1).dispatch()
    with pytest.raises(CommandFailed, match=f"exit code {code}"):
        work(raise_errors=True)
    failed = FailedJob.objects.get()
    assert f"exit code {code}" in failed.exception_message
    assert words in failed.exception_message
    assert JobResult.objects.get().status == "failed"


def test_what_a_command_raises_is_the_error_of_the_job():
    queue_command("speak", "hello", end="raise").using(tries=1).dispatch()
    with pytest.raises(LookupError):
        work(raise_errors=True)
    failed = FailedJob.objects.get()
    assert failed.exception_class == "LookupError"
    assert "The end of the output of the command" in failed.exception
    assert failed.exception.endswith("hello\nprinted\nto stderr\n\n")


@pytest.mark.parametrize("cause", [None, KeyError("first")])
def test_notes_are_in_a_traceback_on_every_python(cause):
    with pytest.raises(ValueError, match="second") as raised:
        raise ValueError("second") from cause
    add_note(raised.value, "one\ntwo")
    assert formatted(raised.value).endswith("ValueError: second\none\ntwo\n")


def test_the_end_of_a_long_output_is_kept():
    dispatched = queue_command("speak", "ä" * 1000, times=100).dispatch()
    work(raise_errors=True)
    output = dispatched.result()["output"]
    assert KEPT - 4 <= len(output.encode()) <= KEPT
    assert output.endswith("to stderr\n")


@pytest.mark.parametrize(
    ("name", "args", "options", "words"),
    [
        ("speek", (), {}, 'no command "speek". Did you mean "speak"'),
        ("speak", (), {}, "words"),
        ("speak", ("a",), {"colour": "red"}, "colour"),
        ("speak", ("a", "--times", "many"), {}, "many"),
        ("speak", ("--help",), {}, "print a text"),
        ("speak", ("a",), {"stdout": io.StringIO()}, "stdout cannot be queued"),
        ("migrate", (), {}, "never run by a job"),
        ("diffsettings", (), {}, "never run by a job"),
        ("queue_work", (), {}, "never run by a job"),
    ],
)
def test_what_cannot_be_queued_is_said_at_the_call(name, args, options, words, capsys):
    with pytest.raises(InvalidCommand, match=words):
        queue_command(name, *args, **options)


def test_the_setting_narrows_it():
    with override_settings(DJQUEUE={"COMMANDS": ["clearsessions", "migrate"]}):
        queue_command("clearsessions")
        with pytest.raises(InvalidCommand, match="not listed"):
            queue_command("speak", "hello")
        with pytest.raises(InvalidCommand, match="never"):
            queue_command("migrate")


@pytest.mark.parametrize("command", ["migrate", "speak"])
def test_a_worker_checks_again(command):
    QueuedCommand(command, [], {}).dispatch()
    with pytest.raises(InvalidCommand):
        work(raise_errors=True)
    assert FailedJob.objects.count() == 1


def test_it_is_dispatched_from_the_command_line(run):
    assert run("queue_dispatch", "djqueue.command", "command=clearsessions").code == 0
    work(raise_errors=True)
    assert "djqueue.command" in run("queue_dispatch", "--list", "djqueue").out


def test_a_recorded_command_is_a_job():
    with fake_queue() as queue:
        queue_command("speak", "hello", times=3).dispatch()
    queue.assert_dispatched(
        QueuedCommand, where=lambda job: (job.command, job.options) == ("speak", {"times": 3})
    )
