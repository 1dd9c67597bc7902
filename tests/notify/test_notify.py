"""What is wrong is said once, and once more when it is right again: to a real SMTP server."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from djqueue.checks.notify import check_notify
from djqueue.databases.now import UtcNow
from djqueue.dispatch import controls
from djqueue.models import FailedJob, Incident, Worker
from djqueue.notify import watch
from tests.app.jobs import record

heard = []


def hear(message):
    """A function that a project names."""
    heard.append(message)


def refuse(message):
    raise OSError("away")


@pytest.fixture
def told(settings):
    settings.DJQUEUE = {"NOTIFY": [f"{__name__}.hear"]}
    heard.clear()
    return heard


def worker(name, until, started=None):
    """Write the row of a worker; both times are in seconds from now."""
    started = until if started is None else started
    return Worker.objects.create(
        name=name,
        hostname="web-1",
        pid=7,
        connection="database",
        queues="default",
        started_at=UtcNow() + timedelta(seconds=started),
        alive_until=UtcNow() + timedelta(seconds=until),
    )


def fail(number, error="ValueError"):
    FailedJob.objects.bulk_create(
        FailedJob(
            uuid=uuid.uuid4(),
            connection="database",
            queue="default",
            payload="{}",
            exception="",
            name="shop.Pack",
            exception_class=error,
            failed_at=UtcNow(),
        )
        for _ in range(number)
    )


@pytest.mark.django_db
def test_a_lost_worker_is_one_mail_and_its_replacement_another(mails):
    worker("web-1:7", -5)
    watch.look(elected=True)
    watch.look(elected=True)
    (mail,) = mails
    assert "PROBLEM: Worker web-1:7 of database" in mail.replace("=\n", "").replace("\n", " ")
    worker("web-1:8", 60)
    watch.look(elected=True)
    watch.look(elected=True)
    assert len(mails) == 2
    assert "RESOLVED" in mails[1]
    assert not Incident.objects.exclude(key=Incident.WATCH).exists()


@pytest.mark.django_db
def test_each_replacement_stands_for_one_lost_worker(told):
    """Two are lost, whose leases of 20 s began 30 s ago; one was started since."""
    for name in ("web-1:7", "web-1:8"):
        worker(name, -10, started=-500)
    beside = worker("web-1:9", 60, started=-300)
    watch.look(elected=True)
    (message,) = told
    assert len(message.problems) == 2
    worker("web-1:10", 60, started=-20)
    watch.look(elected=True)
    assert [len(message.resolved) for message in told] == [0, 1]
    beside.delete()
    worker("web-1:11", 60, started=-10)
    watch.look(elected=True)
    assert [len(message.resolved) for message in told] == [0, 1, 1]


@pytest.mark.django_db
def test_a_replacement_may_be_lost_itself(told):
    worker("web-1:7", -400, started=-900)
    worker("web-1:8", -200, started=-410)
    watch.look(elected=True)
    worker("web-1:9", 60, started=-180)
    watch.look(elected=True)
    assert [len(message.problems) for message in told] == [1, 0]
    assert "web-1:8" in told[0].problems[0]


@pytest.mark.django_db
def test_a_thousand_failures_are_one_mail(mails):
    for _ in range(4):
        fail(250)
        watch.look(elected=True)
    (mail,) = mails
    assert "jobs failed within 5 min, 250 of them shop.Pack" in " ".join(mail.split())


@pytest.mark.django_db
def test_one_of_several_workers_looks(told):
    worker("web-1:7", -5)
    assert watch.look()
    assert not watch.look()
    assert len(told) == 1


@pytest.mark.django_db
def test_long_waits_poison_and_forgotten_pauses_are_said(told, settings):
    settings.DJQUEUE = {**settings.DJQUEUE, "NOTIFY_WHEN": {"WAIT": 0.001, "PAUSE": 0.001}}
    record.dispatch(1)
    fail(1, "djqueue.errors.WorkerLost")
    controls.pause("database", "mail", by="anna", reason="SMTP is down")
    watch.look(elected=True)
    (message,) = told
    waits, poison, pause = message.problems
    assert "default has 1 waiting job" in waits
    assert "queue_work database --queue default" in waits
    assert "1 job called shop.Pack failed because the process or the worker died" in poison
    assert "database:mail is paused by anna (SMTP is down)" in pause
    controls.resume()
    watch.look(elected=True)
    assert told[1].resolved[0][0] == pause


@pytest.mark.django_db
def test_what_comes_and_goes_is_right_again_after_a_while(told):
    fail(20)
    watch.look(elected=True)
    FailedJob.objects.all().delete()
    watch.look(elected=True)
    assert len(told) == 1
    watch.look(elected=True, quiet=0)
    assert told[1].subject == "djqueue: 1 resolved"


@pytest.mark.django_db
def test_what_arrives_nowhere_is_said_by_a_later_look(told, settings):
    settings.DJQUEUE = {"NOTIFY": [f"{__name__}.refuse"]}
    worker("web-1:7", -5)
    watch.look(elected=True)
    settings.DJQUEUE = {"NOTIFY": [f"{__name__}.refuse", f"{__name__}.hear"]}
    watch.look(elected=True)
    watch.look(elected=True)
    assert len(told) == 1


@pytest.mark.django_db
def test_the_command_looks_where_no_worker_is_left(told):
    call_command("queue_monitor", notify=True)
    worker("web-1:7", -5)
    for _ in range(2):
        with pytest.raises(CommandError, match="web-1:7") as error:
            call_command("queue_monitor", notify=True)
        assert error.value.returncode == 4
    assert len(told) == 1


def test_the_setting_is_checked(settings):
    settings.ADMINS = []
    settings.DJQUEUE = {"NOTIFY": ["mail", "https://example.com/hook", "shop.nothing"]}
    assert [each.id for each in check_notify()] == ["djqueue.W026", "djqueue.E036"]


@pytest.mark.django_db
def test_the_command_needs_the_setting():
    with pytest.raises(CommandError, match="NOTIFY"):
        call_command("queue_monitor", notify=True)
