"""The page of a job says why it does not run, and what to do about it."""

from __future__ import annotations

import html
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from djqueue.dispatch import controls
from djqueue.payload import history
from tests.admin.support import JOBS, client, delayed, waiting, worker

pytestmark = pytest.mark.django_db


def _page(row, browser=None):
    response = (browser or client()).get(f"{JOBS}{row.pk}/change/")
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def test_a_job_that_no_worker_reads():
    page = _page(waiting("app.record", queue="mail"))
    assert "No worker reads database:mail." in page
    assert "Start one: python manage.py queue_work database --queue mail" in page


def test_a_job_that_waits_for_its_turn():
    worker()
    page = _page(waiting("app.record"))
    assert "1 worker reads database:default, which has 1 waiting job." in page


def test_a_job_of_a_paused_queue_says_who_paused_it_and_how_to_go_on():
    worker()
    controls.pause("database", "default", by="ben", reason="SMTP is down")
    page = _page(waiting())
    assert "database:default is paused by ben: SMTP is down." in page
    assert "To resume it: python manage.py queue_resume database:default" in page


def test_a_job_that_is_tried_again_hides_what_it_raised_from_those_who_may_not_see_it():
    raised = history.Entry(1, "raised", "shop.errors.OutOfStock", "none of 4711 left")
    text = history.add(history.read(""), raised)
    row = delayed(history=text, attempts=1)
    hidden = _page(row, client("view_queuedjob", view=False))
    assert "Attempt 1 has failed; the next one is due in " in hidden
    assert "none of 4711 left" not in hidden
    assert "OutOfStock: none of 4711 left To run it now" in re.sub("<[^>]*>", "", _page(row))


def test_a_job_whose_code_is_gone_is_told_from_one_that_waits():
    worker()
    page = _page(waiting("shop.GoneForGood"))
    assert "Deploy the code that has it, or delete the job with queue_delete." in page


def test_it_costs_a_few_queries():
    row, visitor = waiting(), client()
    visitor.get(f"{JOBS}{row.pk}/change/")
    with CaptureQueriesContext(connection) as queries:
        visitor.get(f"{JOBS}{row.pk}/change/")
    ours = [each["sql"] for each in queries if '"djqueue' in each["sql"] or '"jobs"' in each["sql"]]
    assert len(ours) <= 8, ours
