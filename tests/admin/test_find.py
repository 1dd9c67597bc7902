"""One job, wherever it is now: the overview's search for an id, and the link after a retry."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest
from django.contrib.messages import get_messages
from django.db.models.functions import Now
from django.test import override_settings

from djqueue import chain
from djqueue.models import FailedJob, FinishedJob, Outbox, QueuedJob
from djqueue.testing import work
from tests.admin.support import FAILED, JOBS, OVERVIEW, client, failed, result, waiting
from tests.admin.support import press as pressed
from tests.composition import jobs

pytestmark = pytest.mark.django_db
FIND = f"{OVERVIEW}find/"


def _found(id, browser=None):
    response = (browser or client()).get(FIND, {"q": str(id)})
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def _link(page):
    return re.search(r'<a class="button" href="([^"]+)"', page)[1].replace("&amp;", "&")


def test_a_waiting_job_by_the_end_of_its_id():
    row = waiting("app.record")
    page = _found(str(row.uuid)[-8:])
    assert "No worker reads database:default." in page
    listed = client().get(_link(page)).content.decode()
    assert f"{JOBS}{row.pk}/change/" in listed


def test_a_step_that_waits_in_the_outbox():
    chain([jobs.number.bind(1), jobs.total.bind()]).dispatch()
    row = Outbox.objects.get()
    page = _found(row.uuid)
    assert "It waits for 1 step of its chain before it." in page
    assert client().get(_link(page)).status_code == 200


def test_a_failed_job_and_its_message_for_those_who_may_see_it():
    row = failed()
    page = _found(row.uuid)
    assert "It failed 3 min ago, at attempt 3." in page
    assert "no such order" in page
    assert f"{FAILED}{row.pk}/change/" in client().get(_link(page)).content.decode()
    some = client("view_overview", "view_failedjob", view=False)
    assert "OutOfStock" in (hidden := _found(row.uuid, some))
    assert "no such order" not in hidden


def test_a_result_and_a_finished_job():
    row = result()
    page = _found(row.pk)
    assert "It is done, just now." in page
    assert client().get(_link(page)).status_code == 200
    with override_settings(DJQUEUE={"KEEP_DONE": 600}):
        done = FinishedJob.objects.create(
            uuid="01a219d0-2902-73aa-88fa-03881bea5570",
            name="app.record",
            queue="mail",
            connection="database",
            attempts=1,
            duration=2.5,
            finished_at=Now() - timedelta(seconds=70),
        )
        some = client("view_overview", "view_finishedjob", view=False)
        assert "It was done 1 min ago, in 2.50 s." in _found(done.uuid, some)


def test_what_an_account_may_not_see_is_not_shown():
    row = waiting("app.record", queue="secret-plans")
    page = _found(row.uuid, client("view_overview", view=False))
    assert "your account may not see it" in page
    assert "secret-plans" not in page
    assert client("view_queuedjob", view=False).get(FIND, {"q": "abcdef"}).status_code == 403


def test_an_id_that_no_job_has_and_a_text_that_is_none():
    assert "No job" in _found("0123456789abcdef")
    for wrong in ("abc", "' OR 1=1 --", "<script>alert(1)</script>", "\x00" * 9, "é" * 64):
        page = client().get(FIND, {"q": wrong}).content.decode()
        assert "<script>alert(1)" not in page
        assert "djq-note" in page


def test_the_message_after_a_retry_leads_to_the_new_run_and_to_its_end():
    jobs.breaks.dispatch()
    work()
    row = FailedJob.objects.get()
    browser = client("retry_failedjob")
    (message,) = map(str, get_messages(pressed(browser, row, "retry").wsgi_request))
    link = re.search(r'href="([^"]+)"', message)[1]
    assert link == f"{FIND}?q={row.uuid}"
    assert QueuedJob.objects.get().uuid == row.uuid
    assert "No worker reads" in browser.get(link).content.decode()
    work()
    assert "It failed just now" in browser.get(link).content.decode()


def test_the_overview_has_the_form():
    assert f'action="{FIND}"' in client().get(OVERVIEW).content.decode()
