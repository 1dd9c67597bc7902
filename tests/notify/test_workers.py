"""Real workers are killed, and jobs fail by the thousand: one mail each time, to a real server."""

from __future__ import annotations

import quopri
import time
from contextlib import ExitStack

import pytest
from django.conf import settings as django_settings

from djqueue import dispatch_many
from djqueue.models import FailedJob, Incident, Worker
from tests.app import jobs
from tests.support import WorkerProcess, run_command, start_worker, wait_until
from tests.torture.kills import LEASE

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.scenario,
    pytest.mark.anywhere,
    pytest.mark.wallclock,
]
QUICK = {"DJANGO_SETTINGS_MODULE": "tests.notify.worker_settings"}
MAIL = ("ADMINS", "EMAIL_BACKEND", "EMAIL_HOST", "EMAIL_PORT", "MAILERS")
LOOKS = 2.5
"""Seconds in which workers look several times."""


@pytest.fixture
def overrides(mails, settings):
    """Settings of processes whose mails go to the server of `mails`."""
    database = {"DRIVER": "database", "RETRY_AFTER": LEASE}
    settings.DJQUEUE = {"NOTIFY": ["mail"], "CONNECTIONS": {"database": database}}
    return {
        name: getattr(django_settings, name) for name in MAIL if django_settings.is_overridden(name)
    }


@pytest.fixture
def start(overrides):
    """Start a worker that lives until the test ends, and wait until it runs."""
    with ExitStack() as stack:

        def started(name: str) -> WorkerProcess:
            worker = start_worker("--name", name, "--sleep", 0.2, overrides=overrides, **QUICK)
            process = stack.enter_context(worker)
            wait_until(lambda: Worker.objects.filter(pid=process.pid).exists())
            return process

        yield started


def words(mail: str) -> str:
    return " ".join(quopri.decodestring(mail).decode().split())


def problems_of(mails: list[str]) -> list[str]:
    return [words(mail) for mail in mails if "PROBLEM" in mail]


def test_a_killed_worker_is_one_mail_and_its_replacement_another(start, mails):
    start("second"), start("third")
    lost = start("first")
    start("fourth")
    time.sleep(LEASE / 2)  # both renew their leases: it ran beside it, and replaces nothing
    lost.kill_everything()
    wait_until(lambda: mails)
    time.sleep(LOOKS)
    (mail,) = mails
    assert "PROBLEM: Worker first of database" in words(mail)
    assert "RESOLVED" not in mail
    start("first")
    wait_until(lambda: len(mails) == 2)
    time.sleep(LOOKS)
    (_, mail) = mails
    assert "RESOLVED" in mail
    assert "PROBLEM" not in mail
    assert "Worker first of database" in words(mail)
    assert not Incident.objects.exclude(key=Incident.WATCH).exists()


def test_the_command_mails_once_that_the_last_worker_is_gone(start, mails, overrides):
    look = ("queue_monitor", "--notify")
    lost = start("last")
    assert run_command(*look, overrides=overrides).returncode == 0
    lost.kill_everything()
    wait_until(lambda: run_command(*look, overrides=overrides).returncode == 4)
    assert run_command(*look, overrides=overrides).returncode == 4
    (mail,) = mails
    assert "PROBLEM: Worker last of database" in words(mail)
    start("last")
    wait_until(lambda: len(mails) == 2)
    assert run_command(*look, overrides=overrides).returncode == 0
    assert "RESOLVED" in mails[1]
    assert len(mails) == 2


def test_a_thousand_failures_in_a_minute_are_one_mail(start, mails):
    start("first"), start("second")
    began = time.monotonic()
    for _ in range(4):
        dispatch_many(jobs.boom.bind() for _ in range(250))
        time.sleep(0.6)  # a look comes in between
    wait_until(lambda: FailedJob.objects.count() == 1000, timeout=40)
    assert time.monotonic() - began < 60
    wait_until(lambda: mails)
    time.sleep(LOOKS)
    (mail,) = mails
    assert "jobs failed within 5 min" in words(mail)
    assert "app.boom with ValueError" in words(mail)
