"""The list of jobs: what it shows, how it is filtered and searched, and what it costs."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from djqueue.admin.lists import paginator
from djqueue.models import QueuedJob
from tests.admin.support import (
    FAILED,
    JOBS,
    act,
    client,
    delayed,
    running,
    said,
    stuck,
    text_of,
    waiting,
)

pytestmark = pytest.mark.django_db

TWO_DATABASES = {
    "CONNECTIONS": {
        "database": {"DRIVER": "database"},
        "reports": {"DRIVER": "database", "DATABASE": "queue"},
        "cache-queue": {"DRIVER": "redis", "URL": "redis://localhost:1/0"},
        "sync": {"DRIVER": "sync"},
    }
}


def _names(response: object) -> list[str]:
    return [row.name for row in response.context["cl"].result_list]


def test_every_state_is_a_text():
    waiting()
    delayed(hours=2)
    running()
    stuck()
    page = client().get(JOBS).content.decode()
    for text in (">Waiting<", "Delayed · in 1 h", "Running · 2 s", "Stuck · taken 3 h ago"):
        assert text in page


@pytest.mark.parametrize("state", ["waiting", "delayed", "running", "stuck"])
def test_the_state_filter_shows_that_state_alone(state):
    makers = {"waiting": waiting, "delayed": delayed, "running": running, "stuck": stuck}
    for name, make in makers.items():
        make(name=f"shop.{name}")
    assert _names(client().get(JOBS, {"state": state})) == [f"shop.{state}"]


def test_a_delayed_job_that_is_due_counts_as_waiting():
    delayed(hours=-1)
    assert len(_names(client().get(JOBS, {"state": "waiting"}))) == 1


def test_queues_are_offered_by_name_and_without_reading_every_row():
    for queue in ("mail", "mail", "pdf"):
        waiting(queue=queue)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        page = client().get(JOBS, {"queue": "mail"})
    assert len(_names(page)) == 2
    offered = page.content.decode()
    assert "?queue=pdf" in offered
    assert "?queue=default" in offered  # of the settings: empty, but known
    assert not [q for q in queries if "DISTINCT" in q["sql"].upper()]


def test_neither_the_list_nor_its_count_loads_a_payload():
    waiting()
    with CaptureQueriesContext(connection) as queries:
        client("delete_queuedjob").get(JOBS, {"q": "SendReceipt"})
    statements = [q["sql"] for q in queries if "FROM" in q["sql"] and "jobs" in q["sql"]]
    assert statements
    for sql in statements:
        assert "payload" not in sql
        assert "history" not in sql


def test_the_number_of_queries_does_not_grow_with_the_rows():
    browser = client()
    stuck()
    with CaptureQueriesContext(connection) as few:
        browser.get(JOBS)
    for _ in range(20):
        stuck()
    with CaptureQueriesContext(connection) as many:
        browser.get(JOBS)
    assert len(few) == len(many)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("job:shop.SendMail", ["shop.SendMail"]),
        ("job:sendmail", ["shop.SendMail"]),
        ("job:Send*", ["shop.SendMails", "shop.SendMail"]),
        ("queue:pdf", ["shop.MakePdf"]),
        ("queue:pdf job:SendMail", []),
        ("akepd", ["shop.MakePdf"]),
        ("'unclosed", []),
        ("job:", []),
        ("0123456789ab7def8123456789abcdef", ["shop.MakePdf"]),
        ("01234567-89ab-7def-8123-456789abcdef", ["shop.MakePdf"]),
        ("01234567-89", ["shop.MakePdf"]),
        ("9abcdef", ["shop.MakePdf"]),
        ("id:012345", ["shop.MakePdf"]),
        ("id:01234", []),
        ("99999999999999999999", []),
    ],
)
def test_search(search, found):
    waiting("shop.SendMail", uuid="11111111-1111-4111-8111-111111111111")
    waiting("shop.SendMails", uuid="22222222-2222-4222-8222-222222222222")
    waiting("shop.MakePdf", queue="pdf", uuid="01234567-89ab-7def-8123-456789abcdef")
    assert _names(client().get(JOBS, {"q": search})) == found


def test_digits_are_a_row_number():
    row = waiting()
    assert _names(client().get(JOBS, {"q": str(row.pk)})) == ["shop.SendReceipt"]


def test_the_count_stops_at_the_cap(monkeypatch):
    monkeypatch.setattr(paginator, "CAP", 3)
    for _ in range(5):
        waiting()
    page = client().get(JOBS)
    assert page.context["cl"].result_count == 3
    assert "3+ jobs" in page.content.decode()


def test_an_empty_list_says_so_and_how_to_see_more():
    browser = client()
    assert "There are no jobs." in browser.get(JOBS).content.decode()
    assert "Clear them" in browser.get(JOBS, {"state": "stuck"}).content.decode()


@pytest.mark.django_db(databases=["default", "queue"])
@override_settings(DJQUEUE=TWO_DATABASES)
def test_jobs_of_several_databases_are_told_apart():
    waiting("shop.Here")
    there = waiting("shop.There", using="queue", queue="reports")
    browser = client("delete_queuedjob")
    assert _names(browser.get(JOBS)) == ["shop.Here"]
    page = browser.get(JOBS, {"database": "queue"})
    assert _names(page) == ["shop.There"]
    assert "?database=queue&amp;queue=reports" in page.content.decode()
    link = f"{JOBS}{there.pk}/change/?_changelist_filters=database%3Dqueue"
    assert link in page.content.decode()
    assert "shop.There" in browser.get(link).content.decode()
    assert _names(browser.get(JOBS, {"database": "nonsense"})) == ["shop.Here"]


def test_without_the_permission_there_is_no_list():
    assert client(view=False).get(JOBS).status_code == 403


def test_pauses_in_force_are_told_above_the_lists():
    from djqueue.dispatch import controls

    controls.pause("database", "mail", for_=1800, reason="SMTP is down\x1b", by="anna")
    controls.pause("database", "over", for_=-1)
    controls.pause(reason="deploy")
    for url in (JOBS, FAILED):
        page = client().get(url).content.decode()
        assert "database:mail is paused until " in page
        assert r"by anna. SMTP is down\x1b" in page
        assert "Every queue is paused. deploy" in page
        assert "database:over" not in page


def test_a_job_with_no_attempt_on_record_can_be_released():

    row = stuck()
    QueuedJob.objects.filter(pk=row.pk).update(attempts=0)
    assert said(act(client("release_job"), JOBS, "release_jobs", [row]))[0].startswith("Released 1")


def test_a_payload_of_another_job_is_told_apart():
    row = waiting("app.record", payload=text_of("app.exits", {}))
    page = client().get(f"{JOBS}{row.pk}/change/").content.decode()
    assert "Its payload is of a job called &quot;app.exits&quot;" in page
    row = waiting("app.record", payload=text_of("app.record", {}))
    assert "Its payload is of" not in client().get(f"{JOBS}{row.pk}/change/").content.decode()
    row = waiting("gone.Job")
    assert "No running code knows" in client().get(f"{JOBS}{row.pk}/change/").content.decode()
