"""What operators see of a job that a limit holds back."""

from __future__ import annotations

import io
import logging

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.urls import reverse

from djqueue import job, signals
from djqueue.limits import throttle
from djqueue.models import QueuedJob
from djqueue.testing import work

REASON = 'The limit "tests.on_record" is reached'


@job(name="tests.on_record", tries=1)
def geocode() -> None:
    with throttle("tests.on_record", 1, 60):
        pass


@pytest.fixture
def held_back(db):
    """The row of a job that was refused twice."""
    with throttle("tests.on_record", 1, 60):
        pass
    geocode.dispatch()
    work(max_jobs=1)
    work(max_jobs=1, delayed=True)
    return QueuedJob.objects.get()


def test_its_row_waits_and_no_attempt_is_charged(held_back):
    assert held_back.attempts == 0
    assert held_back.reserved_at is None
    assert held_back.available_at > held_back.created_at


def test_the_terminal_shows_the_reason_once(held_back):
    out = io.StringIO()
    call_command("queue_show", str(held_back.uuid), stdout=out)
    assert out.getvalue().count(REASON) == 1
    assert "held back" in out.getvalue()


def test_the_page_of_the_job_shows_the_reason(held_back, client):
    client.force_login(User.objects.create_superuser("ada"))
    url = reverse("admin:djqueue_queuedjob_change", args=[held_back.pk])
    page = client.get(url).content.decode()
    assert "Held back" in page
    assert "tests.on_record&quot; is reached" in page


def test_log_and_signal_have_it(db, caplog):
    heard = []

    def receiver(job, error, delay, **_):
        heard.append((str(error), delay))

    with throttle("tests.on_record", 1, 60):
        pass
    geocode.dispatch()
    signals.job_released.connect(receiver)
    try:
        with caplog.at_level(logging.INFO, "djqueue.jobs"):
            work(max_jobs=1)
    finally:
        signals.job_released.disconnect(receiver)
    ((reason, delay),) = heard
    assert reason.startswith(REASON)
    assert 50 < delay <= 60
    assert f"is held back for {delay:.3g} s: {REASON}" in caplog.text
