"""queue_status, queue_monitor, queue_pause, queue_resume, queue_restart."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import override_settings
from django.utils import timezone

from djqueue import queues
from djqueue.dispatch import controls
from djqueue.drivers.base import WorkerIdentity
from djqueue.drivers.database import workers
from djqueue.models import Control, QueuedJob
from djqueue.signals import queue_busy
from tests.commands.conftest import DJQUEUE
from tests.commands.jobs import Empty, Send
from tests.support import run_command

pytestmark = pytest.mark.django_db(databases=["default", "queue"])

KEYS = ["connection", "queue", "waiting", "delayed", "reserved", "oldest_at", "paused"]


def start(queues_, *, alive=60, connection="database"):
    """A worker's row, written as a worker does; one that is not `alive` is late."""
    worker = WorkerIdentity("web-1:4211", "web-1", 4211, tuple(queues_.split(",")), alive)
    workers.insert(queues["database"].driver._calls.dialect, worker, connection)


# -- queue_status --------------------------------------------------------------------------------


def test_status_counts_every_queue(run, reserve):
    for number in range(3):
        Send(number).dispatch()
    Send(4).using(delay=60).dispatch()
    reserve("mail")
    start("mail,other")
    done = run("queue_status", "--json")
    assert done.code == 0
    more = ["workers", "stuck", "status", "pause", "problems"]
    assert [list(each) for each in done.objects] == [[*KEYS, *more]] * len(done.objects)
    (mail,) = [each for each in done.objects if each["queue"] == "mail"]
    assert mail.pop("oldest_at").startswith("20")
    assert mail == {
        "connection": "database",
        "queue": "mail",
        "waiting": 2,
        "delayed": 1,
        "reserved": 1,
        "paused": False,
        "workers": 1,
        "stuck": 0,
        "status": "active",
        "pause": None,
        "problems": [],
    }
    assert {each["queue"] for each in done.objects} == {"default", "mail", "other"}


def test_a_queue_with_jobs_and_no_worker_is_told_with_the_remedy(run):
    Send(1).dispatch()
    start("default")
    start("mail", alive=-5)
    start("mail", connection="memory")
    done = run("queue_status", "database")
    assert "database:mail holds 1 job, the oldest for 0 s, and no worker reads it." in done.out
    assert "queue_work database --queue mail" in done.out
    (line,) = [line for line in done.lines if line.startswith("database:mail\t")]
    assert line.split("\t")[-2:] == ["0", "no worker"]
    assert "no worker reads it" in run("queue_status", "--json").err
    start("high,mail")
    assert "no worker reads it" not in run("queue_status", "database").out


def test_a_paused_queue_is_told(run):
    Send(1).dispatch()
    controls.pause("database", "mail")
    done = run("queue_status")
    assert "queue_resume database:mail" in done.out
    found = {each["queue"]: each["paused"] for each in run("queue_status", "--json").objects}
    assert found == {"default": False, "mail": True}


def test_how_long_a_queue_is_paused_why_and_by_whom_is_told(run):
    Send(1).dispatch()
    controls.pause("database", "mail", for_=1445, reason="SMTP is down", by="anna")
    controls.pause("database", "empty", reason="x\n\x1b[31m password=hunter2")
    done = run("queue_status")
    assert "mail holds 1 job and is paused for another 24 min by anna: SMTP is down." in done.out
    assert r"database:empty is paused: x\n\x1b[31m password=********." in done.out
    mail = next(each for each in run("queue_status", "--json").objects if each["queue"] == "mail")
    assert mail["status"] == "paused"
    assert mail["pause"]["until"].startswith("20")
    assert (mail["pause"]["reason"], mail["pause"]["by"]) == ("SMTP is down", "anna")
    assert "queue_resume" in mail["problems"][0]


def test_a_pause_of_everything_is_told_of_each_queue(run):
    Send(1).dispatch()
    controls.pause(reason="deploy")
    (found,) = [each for each in run("queue_status", "--json").objects if each["queue"] == "mail"]
    assert found["pause"]["reason"] == "deploy"
    assert "is paused: deploy" in run("queue_status").out


@pytest.mark.parametrize(
    "line",
    [
        ["queue_pause", "mial"],
        ["queue_clear", "--queue", "mial", "--force"],
        ["queue_monitor", "mial"],
    ],
)
def test_a_name_that_nothing_knows_is_remarked_upon(run, line):
    Send(1).dispatch()
    done = run(*line)
    assert done.code == 0
    assert "database:mial holds nothing, no job or route names it" in done.err
    assert 'Did you mean "mail"?' in done.err
    assert "holds nothing" not in run(*(word.replace("mial", "mail") for word in line)).err


def test_stuck_jobs_are_told(run, reserve):
    Send(1).dispatch()
    reserve("mail", stuck=True)
    assert "database:mail has 1 job whose worker is gone." in run("queue_status").out


@override_settings(
    DJQUEUE={
        "CONNECTIONS": {
            **DJQUEUE["CONNECTIONS"],
            "broken": {"DRIVER": "databse"},
        }
    }
)
def test_a_connection_that_cannot_be_asked_does_not_hide_the_others(run):
    Send(1).dispatch()
    done = run("queue_status")
    assert done.code == 1
    assert "database:mail" in done.out
    assert "Connection broken could not be asked" in done.err


# -- queue_monitor -------------------------------------------------------------------------------


@pytest.fixture
def busy():
    sent = []

    def receive(sender, **arguments):
        arguments.pop("signal")
        sent.append(arguments)

    queue_busy.connect(receive)
    yield sent
    queue_busy.disconnect(receive)


def test_the_maximum_alerts_at_that_number_and_above(run, busy):
    for number in range(3):
        Send(number).dispatch()
    assert run("queue_monitor", "database:mail", "--max", 4).code == 0
    assert busy == []
    done = run("queue_monitor", "database:mail,memory:default", "--max", 3)
    assert done.code == 4
    assert "database:mail has 3 waiting jobs" in done.err
    assert [line.split("\t")[-1] for line in done.lines] == ["STATUS", "ALERT", "OK"]
    (sent,) = busy
    assert sent["oldest"] < 60
    del sent["oldest"]
    assert sent == {"connection": "database", "queue": "mail", "size": 3}


def test_the_age_alerts_too(run, busy):
    Empty().dispatch()
    assert run("queue_monitor", "default", "--max-age", "5m").code == 0
    QueuedJob.objects.update(available_at=timezone.now() - timedelta(seconds=301))
    done = run("queue_monitor", "default", "--max-age", "5m", "--json")
    assert done.code == 4
    (found,) = done.objects
    assert list(found) == [*KEYS, "over"]
    assert found["over"] == ["max_age"]
    assert len(busy) == 1


@pytest.mark.anywhere
@pytest.mark.django_db(transaction=True)
def test_the_shell_sees_the_exit_codes():
    Empty().dispatch()
    assert run_command("queue_monitor", "default", "--max", 1).returncode == 4
    done = run_command("queue_clear")
    assert done.returncode == 2
    assert "Input is not a terminal, so it cannot ask." in done.stderr
    assert run_command("queue_show", "aaaaaaaa").returncode == 3
    assert run_command("queue_jobs", "nowhere").returncode == 1
    assert run_command("queue_jobs", "--state", "lost").returncode == 2


def test_a_queue_that_cannot_be_is_an_error(run):
    assert run("queue_monitor", "nowhere:default").code == 1
    assert run("queue_monitor", "database:no queue").code == 1
    assert run("queue_monitor", ",").code == 2


# -- queue_pause, queue_resume, queue_restart ----------------------------------------------------


def test_queues_are_paused_and_resumed(run):
    done = run("queue_pause", "mail", "memory:slow", "--for", "30m", "--reason", "deploy")
    assert done.code == 0
    assert done.lines == [
        "database:mail is paused for 30 min.",
        "memory:slow is paused for 30 min.",
    ]
    assert queues["database"].is_paused("mail")
    assert queues["memory"].is_paused("slow")
    pause = Control.objects.get(scope="pause:database:mail")
    assert (pause.reason, bool(pause.by)) == ("deploy", True)
    assert pause.until is not None
    assert run("queue_resume", "mail").out == "database:mail is resumed.\n"
    assert run("queue_resume", "mail").out == "database:mail was not paused.\n"
    assert not queues["database"].is_paused("mail")
    assert queues["memory"].is_paused("slow")


def test_everything_is_paused_and_resumed(run):
    assert run("queue_pause", "--all").out == "Every queue is paused until queue_resume.\n"
    assert queues["memory"].is_paused("any")
    assert "stays paused, because every queue is" in run("queue_resume", "mail").out
    assert run("queue_resume", "--all").out == "No queue is paused any more.\n"
    assert not queues["memory"].is_paused("any")
    assert run("queue_resume", "--all").out == "No queue was paused.\n"


def test_the_remedy_ends_the_pause_of_every_queue_too(run):
    job = Send(1).dispatch()
    controls.pause("database", "mail", reason="SMTP is down")
    assert "queue_resume database:mail" in run("queue_why", job.id).out
    controls.pause()
    for done in (run("queue_status"), run("queue_why", job.id)):
        assert "python manage.py queue_resume --all" in done.out
    run("queue_resume", "--all")
    assert "queue_resume" not in run("queue_status").out + run("queue_why", job.id).out


@pytest.mark.parametrize("command", ["queue_pause", "queue_resume"])
def test_queues_or_all_have_to_be_named(run, command):
    assert run(command).code == 2
    assert run(command, "mail", "--all").code == 2
    assert run(command, "nowhere:mail").code == 1
    assert not Control.objects.exists()


def test_restart_raises_the_number_that_workers_compare(run):
    before = controls.read("database").generation
    assert run("queue_restart").code == 0
    assert controls.read("database").generation == before + 1


def test_a_worker_that_joined_is_counted(run):
    driver = queues["database"].driver
    driver._calls.dialect.owned = True  # as if it had a connection of its own
    session = driver.session(WorkerIdentity("w", "host", 1, ("mail",), 20.0))
    session.join()
    Send(1).dispatch()
    assert "no worker reads it" not in run("queue_status").out
    session.leave()
    assert "no worker reads it" in run("queue_status").out
