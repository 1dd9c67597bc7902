"""The page of a failed job: the project's own code first, and what tells one from others."""

from __future__ import annotations

import socket
import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.translation import override

from djqueue.models import FailedJob
from djqueue.testing import work
from djqueue.text import tracebacks
from tests.admin.support import FAILED, client, failed, text_of
from tests.admin.test_overview import TRACE
from tests.app import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.anywhere]


def page(row, *permissions):
    response = client(*permissions).get(f"{FAILED}{row.pk}/change/")
    assert response.status_code == 200
    return response


def test_own_frames_are_shown_and_those_of_libraries_are_folded():
    shown = page(failed(exception=TRACE)).context["traceback"]
    assert [(part.folded, part.frames) for part in shown] == [
        (False, 0),
        (True, 1),
        (False, 1),
        (True, 1),
        (False, 0),
    ]
    assert "shop/stock.py" in shown[2].text
    assert "\n".join(part.text for part in shown) == TRACE.rstrip()


def test_without_own_frames_nothing_is_folded():
    trace = TRACE.replace("/srv/shop/", "/srv/lib/python3.12/")
    assert not any(part.folded for part in page(failed(exception=trace)).context["traceback"])


def test_the_place_of_a_traceback_is_its_last_own_frame():
    assert tracebacks.place(TRACE) == "stock.py:fetch"
    assert tracebacks.place(TRACE + "\nDuring handling…\n" + TRACE.replace("fetch", "load")) == (
        "stock.py:load"
    )
    assert tracebacks.place("no traceback") == ""


def test_the_traceback_stands_before_the_facts():
    html = page(failed(exception=TRACE)).content.decode()
    assert html.index("djq-traceback") < html.index('id="djq-facts"')


def test_attempts_are_counted_of_the_tries():
    row = failed(attempts=3, payload=text_of("shop.SendReceipt", {}, tries=3))
    facts = {str(label): str(value) for label, value in page(row).context["facts"]}
    assert facts["Attempts"] == "3 of 3"
    assert "2026-09-" in facts["Dispatched"]


def test_others_of_its_group_are_one_click_away():
    row, other = failed(fingerprint="a" * 40), failed(fingerprint="a" * 40)
    failed(fingerprint="b" * 40)
    facts = {str(label): str(value) for label, value in page(row).context["facts"]}
    assert "1 other" in facts["Alike"]
    rows = client().get(FAILED, {"group": "a" * 40}).context["cl"].result_list
    assert {each.pk for each in rows} == {row.pk, other.pk}


def test_many_others_are_counted_as_the_language_writes_numbers():
    row = failed(fingerprint="a" * 40)
    columns = FailedJob.objects.values().get(pk=row.pk)
    del columns["id"]
    others = [FailedJob(**{**columns, "uuid": uuid.uuid4()}) for _ in range(1001)]
    FailedJob.objects.bulk_create(others)
    with override("de"):
        facts = {str(label): str(value) for label, value in page(row).context["facts"]}
    assert any("1.000+" in value for value in facts.values())


def test_retry_is_the_button_that_shines():
    html = page(failed(), "retry_failedjob", "delete_failedjob").content.decode()
    assert html.index("djq-primary") < html.index("djq-danger")
    assert 'value="retry" class="djq-primary"' in html


def test_where_and_how_long_the_last_attempt_ran_is_shown_where_it_is_known():
    row = failed()
    FailedJob.objects.filter(pk=row.pk).update(host="web-7", duration=2.014)
    page = client().get(f"{FAILED}{row.pk}/change/").content.decode()
    assert "web-7" in page
    assert "2.01 s" in page
    assert "Ran for" not in client().get(f"{FAILED}{failed().pk}/change/").content.decode()


def test_a_failure_has_its_host_and_duration_on_record():
    jobs.boom.dispatch("gone")
    work()
    row = FailedJob.objects.get()
    assert row.host == socket.gethostname()
    assert 0 < row.duration < 60


def test_failed_jobs_are_chosen_by_group_job_and_exception():
    mail = {"fingerprint": "a" * 40, "exception_class": "smtplib.SMTPException"}
    for _ in range(3):
        failed("shop.SendMail", **mail)
    failed("shop.SendMail", fingerprint="b" * 40, exception_class="ValueError")
    failed("shop.Pdf", fingerprint="c" * 40, exception_class="ValueError")
    browser = client("retry_failedjob")
    with CaptureQueriesContext(connection) as queries:
        page = browser.get(FAILED).content.decode()
    for label in ("SendMail · SMTPException (3)", "shop.SendMail (4)", "ValueError (2)"):
        assert label in page
    assert len([each for each in queries if "GROUP BY" in each["sql"]]) == 1
    for query, names in (
        ({"group": "a" * 40}, ["shop.SendMail"] * 3),
        ({"job": "shop.Pdf"}, ["shop.Pdf"]),
        ({"exception": "ValueError"}, ["shop.Pdf", "shop.SendMail"]),
        ({"job": "no.such"}, []),
    ):
        shown = browser.get(FAILED, query)
        assert sorted(row.name for row in shown.context["cl"].result_list) == names
    group = browser.get(FAILED, {"group": "a" * 40}).content.decode()
    assert "Retry: all 3 that match…" in group
    assert browser.get(FAILED, {"group": "d" * 40, "job": "x\0y"}).status_code == 200
