"""What ``runserver`` says when nobody runs the jobs."""

from __future__ import annotations

import pytest

from djqueue.management import hints
from tests.app import jobs
from tests.ledger import Ledger, kept
from tests.support import start_worker, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_jobs_without_a_worker_are_mentioned_with_the_command():
    jobs.record.using(queue="mail").dispatch(1)
    assert hints.unread() == (
        "djqueue: 1 job waits on database:mail and no worker reads it. Run"
        " `python manage.py queue_work database --queue mail` in another terminal."
    )


def test_an_empty_queue_is_not_mentioned():
    assert hints.unread() == ""


def test_a_queue_that_a_worker_reads_is_not_mentioned():
    from djqueue.models import Worker

    ledger: Ledger
    with kept() as ledger, start_worker():
        wait_until(Worker.objects.exists)
        jobs.record.dispatch(1, 0.3)
        jobs.record.dispatch(2)
        assert hints.unread() == ""
        wait_until(lambda: len(ledger.lines("end")) == 2)


def test_it_is_said_once_by_runserver_and_by_nothing_else(monkeypatch, settings, capsys):
    from django.core.signals import request_finished

    settings.DEBUG = True
    jobs.record.dispatch(1)
    hints.install()
    request_finished.send(None)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.argv", ["manage.py", "runserver"])
    hints.install()
    request_finished.send(None)
    request_finished.send(None)
    assert capsys.readouterr().err.count("no worker reads it") == 1
