"""The workers' page: what each runs, and asking one to end."""

from __future__ import annotations

import json
import time

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from djqueue.dispatch import controls
from djqueue.models import Control, Worker
from tests.admin.support import OVERVIEW, WORKERS, act, client, logged, press, said, waiting, worker

pytestmark = pytest.mark.django_db


def reported(name="web-1:4211", **columns):
    """A worker that has said what it runs."""
    row = worker(name, **columns)
    job = waiting("shop.SendReceipt")
    text = json.dumps([[str(job.uuid), job.name, time.time() - 125]])
    Worker.objects.filter(pk=row.pk).update(running=text, memory=157286400, version="1.2.3")
    return Worker.objects.get(pk=row.pk), job


def test_a_worker_shows_what_it_runs_and_since_when():
    row, job = reported()
    browser = client()
    for url in (WORKERS, f"{WORKERS}{row.pk}/change/"):
        page = browser.get(url).content.decode()
        for text in (
            "shop.SendReceipt",
            str(job.uuid)[-8:],
            "2 min",
            "150.0",
            "1.2.3",
            "high, def",
        ):
            assert text in page
        assert f"q={job.uuid}" in page


def test_a_lost_worker_is_marked_and_cannot_be_asked():
    row, _job = reported(lost=True)
    browser = client("restart_worker")
    page = browser.get(f"{WORKERS}{row.pk}/change/").content.decode()
    assert "Lost" in page
    assert "does not renew its lease" in page
    assert "/act/restart/" not in page
    assert said(press(browser, row, "restart")) == [
        "1 worker was not asked: it is lost, or has ended."
    ]
    assert not Control.objects.exists()


def test_asking_a_worker_to_end_needs_the_permission_and_an_answer():
    row, _job = reported()
    forbidden = client()
    assert "/act/restart/" not in forbidden.get(f"{WORKERS}{row.pk}/change/").content.decode()
    assert press(forbidden, row, "restart").status_code == 403
    act(forbidden, WORKERS, "restart_workers", [row])
    assert forbidden.post(f"{WORKERS}all/restart/", {"confirmed": "yes"}).status_code == 403
    browser = client("restart_worker")
    question = press(browser, row, "restart", answered=False)
    assert "begins no more jobs" in question.content.decode()
    assert (
        browser.get(reverse("admin:djqueue_worker_act", args=[row.pk, "restart"])).status_code
        == 405
    )
    assert not Control.objects.exists()
    assert said(press(browser, row, "restart")) == [
        "Asked 1 worker to end. Jobs that run are not interrupted."
    ]
    assert controls.read("database", controls.worker_key("default", row.pk)).must_end
    assert not controls.read("database", controls.worker_key("default", row.pk + 1)).must_end
    [entry] = logged()
    assert entry.object_id == str(row.pk)
    assert json.loads(entry.change_message)["verb"] == "restart"


def test_every_worker_can_be_asked_with_one_button():
    worker("web-1:1"), worker("web-2:2", lost=True)
    browser = client("restart_worker")
    response = browser.post(f"{WORKERS}all/restart/", {"confirmed": "yes"})
    assert said(response) == [
        "Asked 1 worker to end. Jobs that run are not interrupted.",
        "1 worker was not asked: it is lost, or has ended.",
    ]


def test_a_report_that_cannot_be_read_is_none():
    row = worker()
    for text in ("{", "[1]", '[["x"]]', '[["x", "y", 1e999]]'):
        Worker.objects.update(running=text)
        assert client().get(f"{WORKERS}{row.pk}/change/").status_code == 200


def test_the_overview_leads_to_the_workers():
    assert f'href="{WORKERS}"' in client().get(f"{OVERVIEW}live/").content.decode()


def test_the_list_asks_few_queries_however_many_workers_there_are():
    for number in range(20):
        reported(f"web-{number}:1")
    browser = client("restart_worker")
    with CaptureQueriesContext(connection) as queries:
        browser.get(WORKERS)
    assert len(queries) <= 10
