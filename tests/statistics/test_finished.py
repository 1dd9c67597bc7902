"""Jobs that were done lately: what is kept of them, for how long, and where they are listed."""

from __future__ import annotations

import io
import json
import uuid
import weakref
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from djqueue.drivers.base import Reservation
from djqueue.errors import QueueUnavailable
from djqueue.models import FinishedJob
from djqueue.operations.pruning import prune
from djqueue.operations.reports import finished
from djqueue.runner.decision import CANCEL, DONE, FAIL, RETURNED, Action, Decision, Ending
from djqueue.runner.outcome import End, Outcome
from djqueue.worker.store.finished import MOST_WAITING, FinishedJobs
from tests.admin.support import client

pytestmark = pytest.mark.django_db

PAGE = "/admin/djqueue/finishedjob/"


@pytest.fixture(autouse=True)
def _kept(settings):
    settings.DJQUEUE = {"KEEP_DONE": 3600}


class Here:
    """Asks the database in this process."""

    def ask(self, alias, question):
        return question()


class Away:
    def ask(self, alias, question):
        raise QueueUnavailable("It is away.")


def end(name="shop.Pack", outcome=None, queue="mail", id=None):
    held = Reservation(id or str(uuid.uuid4()), queue, name, "{}", 2, 0, "", None)
    return End(held, outcome or Outcome(RETURNED, DONE, duration=1.5))


def write(*ends, connection="database"):
    jobs = FinishedJobs(Here(), connection)
    jobs.add(ends)
    jobs.write()


def test_payloads_are_not_held_until_they_are_written():
    class Text(str):
        __slots__ = ("__weakref__",)

    payload = Text("{}")
    held = weakref.ref(payload)
    jobs = FinishedJobs(Here(), "database")
    done = end()
    jobs.add([done._replace(reservation=done.reservation._replace(payload=payload))])
    del payload
    assert held() is None
    jobs.write()
    assert FinishedJob.objects.get().name == "shop.Pack"


def listed(*arguments, **options):
    out = io.StringIO()
    call_command("queue_jobs", *arguments, done=True, stdout=out, **options)
    return out.getvalue()


def test_what_is_done_is_kept_and_nothing_else():
    retry = Outcome(Ending.RAISED, Decision(Action.RETRY, 5))
    others = [Outcome(Ending.RAISED, FAIL), Outcome(Ending.CANCELLED, CANCEL), retry]
    write(end(), *[end("shop.Other", each) for each in others], end("shop.Bad", id="no uuid"))
    row = FinishedJob.objects.get()
    assert (row.name, row.queue, row.connection, row.attempts, row.duration) == (
        *("shop.Pack", "mail", "database"),
        *(2, 1.5),
    )
    assert timezone.now() - row.finished_at < timedelta(minutes=1)


def test_the_newest_are_kept(monkeypatch):
    monkeypatch.setattr(finished, "MOST", 3)
    for number in range(3):
        write(*(end(f"shop.Job{number}{part}") for part in "ab"))
    names = [row.name for row in finished.finished(["database"])]
    assert names == ["shop.Job2b", "shop.Job2a", "shop.Job1b"]


def test_of_a_burst_the_last_are_written():
    jobs = FinishedJobs(Here(), "database")
    jobs.add([end("shop.First"), *[end()] * MOST_WAITING])
    jobs.write()
    jobs.write()
    assert FinishedJob.objects.count() == MOST_WAITING
    assert not FinishedJob.objects.filter(name="shop.First").exists()


def test_what_cannot_be_written_is_dropped():
    jobs = FinishedJobs(Away(), "database")
    jobs.add([end()])
    jobs.write()
    assert not jobs._waiting


def test_old_ones_are_neither_listed_nor_kept(settings):
    write(end())
    FinishedJob.objects.update(finished_at=timezone.now() - timedelta(seconds=3601))
    write(end("shop.New"))
    assert [row.name for row in finished.finished(["database"])] == ["shop.New"]
    prune()
    assert [row.name for row in FinishedJob.objects.all()] == ["shop.New"]
    settings.DJQUEUE = {}
    prune()
    assert not FinishedJob.objects.exists()


def test_the_command_lists_them():
    write(end(), end("shop.Mail", queue="other"))
    write(end("shop.Elsewhere"), connection="null")
    first, second = map(json.loads, listed(json=True).splitlines())
    assert (first["name"], second["name"]) == ("shop.Mail", "shop.Pack")
    assert (second["attempts"], second["duration"]) == (2, 1.5)
    assert json.loads(listed(json=True, queue="mail"))["id"] == second["id"]
    assert json.loads(listed(json=True, name="shop.Mail"))["queue"] == "other"
    head, line = listed(limit=1).splitlines()
    assert head.lower().split("\t") == [
        *("id", "name", "queue", "connection"),
        *("attempts", "duration", "finished_at"),
    ]
    assert line.split("\t")[1] == "shop.Mail"
    with pytest.raises(CommandError, match="--done or --state"):
        listed(state="waiting")


def test_the_admin_lists_them(settings):
    write(end("shop.<b>Pack"))
    browser = client("view_finishedjob")
    page = browser.get(PAGE).content.decode()
    assert "shop.&lt;b&gt;Pack" in page
    assert PAGE in browser.get("/admin/").content.decode()
    row = FinishedJob.objects.get()
    assert str(row.uuid) in browser.get(f"{PAGE}{row.pk}/change/").content.decode()
    settings.DJQUEUE = {}
    assert PAGE not in browser.get("/admin/").content.decode()
    assert client().get(PAGE).status_code == 403
