"""The overview: the answer it opens with, every connection, pauses, and groups of failures."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db.models.functions import Now
from django.test import override_settings

from djqueue.admin.overview import reading
from djqueue.dispatch import controls
from djqueue.models import FailedJob, Outbox, QueuedJob
from djqueue.operations.reports import deadlines
from djqueue.operations.reports.queues import status
from tests.admin.support import (
    OVERVIEW,
    client,
    delayed,
    failed,
    said,
    stuck,
    unreadable,
    waiting,
    worker,
)

pytestmark = [pytest.mark.django_db, pytest.mark.anywhere]

TRACE = """Traceback (most recent call last):
  File "/srv/lib/python3.12/site-packages/requests/api.py", line 5, in get
    return send()
  File "/srv/shop/stock.py", line 7, in fetch
    get()
  File "/srv/lib/python3.12/site-packages/requests/api.py", line 9, in send
    raise ConnectionError()
ConnectionError: no answer
"""


def page(*permissions, **query):
    response = client(*permissions).get(OVERVIEW, query)
    assert response.status_code == 200
    return response


def problems(response):
    return [each.text for each in response.context["overview"].problems]


def test_it_is_the_first_page_of_the_app():
    browser = client()
    models = browser.get("/admin/djqueue/").context["app_list"][0]["models"]
    assert models[0]["object_name"] == "Overview"
    assert browser.get(models[0]["admin_url"]).status_code == 200


def test_it_says_that_all_is_well():
    worker()
    response = page()
    assert problems(response) == []
    assert "All is well." in response.content.decode()
    assert response.context["overview"].summary.startswith("2 queues · 1 worker · 0 jobs failed")


def test_a_queue_that_no_worker_reads_is_a_problem_with_its_remedy_and_a_link():
    waiting(queue="mail")
    delayed(queue="mail")
    response = page()
    [problem] = response.context["overview"].problems
    assert "database:mail holds 2 jobs" in problem.text
    assert "queue_work database --queue mail" in problem.remedy
    jobs = client().get(problem.url).context["cl"].result_list
    assert {row.queue for row in jobs} == {"mail"}


def test_stuck_jobs_are_not_counted_as_running_and_lead_to_their_list():
    row = stuck(queue="default")
    worker()
    overview = page().context["overview"]
    [queue] = [each for each in overview.queues if each.status.queue == "default"]
    numbers = {label: number for label, number, _url in queue.numbers}
    assert numbers == {"Waiting": 0, "Delayed": 0, "Running": 0, "Stuck": 1}
    [problem] = overview.problems
    assert [each.pk for each in client().get(problem.url).context["cl"].result_list] == [row.pk]


def test_failures_are_grouped_by_job_exception_and_place():
    for _each in range(3):
        failed("shop.Sync", fingerprint="a" * 40, exception=TRACE, exception_class="x.NoAnswer")
    failed("shop.Mail", fingerprint="b" * 40)
    failed("shop.Old", failed_at=Now() - timedelta(hours=2))
    response = page("retry_failedjob")
    overview = response.context["overview"]
    shown = [(each.group.name, each.group.number, each.group.place) for each in overview.groups]
    assert shown == [("shop.Sync", 3, "stock.py:fetch"), ("shop.Mail", 1, "")]
    assert problems(response)[-1] == (
        "4 jobs failed in the last hour. Most often shop.Sync with NoAnswer."
    )
    html = response.content.decode()
    assert "Retry 3…" in html


def test_a_group_is_retried_as_it_was_shown():
    for _each in range(3):
        failed(fingerprint="a" * 40)
    other = failed(fingerprint="b" * 40)
    browser = client("retry_failedjob")
    [first, _second] = browser.get(OVERVIEW).context["overview"].groups
    asked = {"action": "retry_jobs", "index": "0", "select_across": "1"}
    asked |= {"_selected_action": [str(first.group.newest)]}
    question = browser.post(first.url, asked)
    assert question.context["count"] == 3
    late = failed(fingerprint="a" * 40)
    browser.post(
        first.url,
        {
            **asked,
            "confirmed": "yes",
            "newest": question.context["newest"],
        },
        follow=True,
    )
    assert set(FailedJob.objects.values_list("pk", flat=True)) == {other.pk, late.pk}
    assert QueuedJob.objects.count() == 3


def test_failed_jobs_are_for_those_who_may_see_them():
    failed("shop.Sync")
    browser = client("view_overview", view=False)
    response = browser.get(OVERVIEW)
    assert response.context["overview"].failed == 0
    assert "shop.Sync" not in response.content.decode()


def test_without_retry_there_is_no_button():
    failed()
    assert "Retry 1" not in page().content.decode()


# -- pauses ----------------------------------------------------------------------------------------


def test_a_pause_says_for_how_long_why_and_by_whom():
    controls.pause("database", "mail", for_=1800, reason="SMTP is down", by="anna")
    waiting(queue="mail")
    html = page().content.decode()
    assert "Paused for another 29 min by anna: SMTP is down" in html
    assert "Resume" not in html  # this account may not


def test_secrets_in_the_reason_of_a_pause_are_masked(caplog):
    with caplog.at_level("INFO", "djqueue.audit"):
        span = {"reason": "password=hunter2", "span": "900"}
        client("pause_queue").post(f"{OVERVIEW}pause/", span)
    assert [pause.reason for pause in controls.pauses()] == ["password=hunter2"]
    assert "hunter2" not in page().content.decode()
    assert "hunter2" not in caplog.text


def test_a_queue_is_paused_and_resumed():
    waiting(queue="mail")
    browser = client("pause_queue")
    assert (
        "overview/pause/?connection=database&amp;queue=mail" in page("pause_queue").content.decode()
    )
    place = {"connection": "database", "queue": "mail"}
    form = browser.get(f"{OVERVIEW}pause/", place).content.decode()
    assert "Pause database:mail" in form
    assert not controls.pauses()
    done = browser.post(f"{OVERVIEW}pause/", {**place, "reason": "SMTP", "span": "900"})
    assert said(done) == ["database:mail is paused. Jobs that run end as usual."]
    [pause] = controls.pauses()
    assert (pause.queue, pause.reason, pause.by) == (
        "mail",
        "SMTP",
        done.wsgi_request.user.username,
    )
    assert pause.until is not None
    done = browser.post(f"{OVERVIEW}resume/", place)
    assert not controls.pauses()
    assert "resumed" in said(done)[-1]
    assert "not paused any more" in said(browser.post(f"{OVERVIEW}resume/", place))[-1]
    verbs = [each.get_change_message() for each in LogEntry.objects.order_by("pk")]
    assert ['"pause"' in verbs[0], '"resume"' in verbs[1], len(verbs)] == [True, True, 2]


def test_every_queue_is_paused_and_resumed():
    browser = client("pause_queue")
    browser.post(f"{OVERVIEW}pause/", {"reason": "deploy", "span": ""})
    html = browser.get(OVERVIEW).content.decode()
    assert "Every queue is paused." in html
    browser.post(f"{OVERVIEW}resume/")
    assert not controls.pauses()


def test_pausing_needs_its_permission():
    browser = client()
    for url in (f"{OVERVIEW}pause/", f"{OVERVIEW}resume/"):
        assert browser.post(url, {"connection": "database", "queue": "mail"}).status_code == 403
    assert client("pause_queue", view=False).post(f"{OVERVIEW}pause/").status_code == 403
    assert client("pause_queue").get(f"{OVERVIEW}resume/").status_code == 405
    bad = {"connection": "nothing", "queue": "mail"}
    assert client("pause_queue").post(f"{OVERVIEW}pause/", bad).status_code == 403
    assert not controls.pauses()


# -- stores ----------------------------------------------------------------------------------------

ELSEWHERE = {
    "CONNECTIONS": {
        "database": {"DRIVER": "database"},
        "cache": {"DRIVER": "redis", "URL": "redis://localhost:1/0"},
    }
}


@override_settings(DJQUEUE=ELSEWHERE)
def test_a_store_that_is_away_is_shown_and_holds_up_nothing():
    """UI-17."""
    waiting(queue="mail")
    response = page()
    assert problems(response)[0].startswith("Connection cache could not be asked.")
    assert "database:mail" in response.content.decode()


@pytest.mark.parametrize(
    ("table", "kept"),
    [
        ("djqueue_controls", ["queues", "groups", "parked"]),
        ("djqueue_workers", ["groups", "parked", "pauses"]),
        ("djqueue_outbox", ["queues", "groups", "pauses"]),
        ("failed_jobs", ["queues", "parked", "pauses"]),
    ],
)
def test_a_database_that_is_away_is_said_and_the_rest_is_shown(table, kept):
    waiting()
    failed()
    controls.pause("database", "other")
    parked = {"connection": "cache", "queue": "q", "uuid": "0" * 32, "name": "n", "payload": ""}
    Outbox.objects.create(**parked, created_at=Now(), due_at=Now(), parked=True)
    with unreadable(table):
        response = page()
    assert any("no route to db" in each for each in problems(response))
    assert "secret" not in response.content.decode()
    shown = response.context["overview"]
    for each in ("queues", "groups", "parked", "pauses"):
        assert bool(getattr(shown, each)) == (each in kept), each


@pytest.mark.parametrize("table", ["djqueue_workers", "jobs", "djqueue_"])
def test_a_connection_whose_database_is_away_is_named_and_each_reason_is_said_once(table):
    browser = client()
    waiting()
    with unreadable(table):
        found = problems(browser.get(OVERVIEW))
    assert [each for each in found if each.startswith("Connection database could not be asked.")]
    assert len(found) == len(set(found))


def test_a_store_that_is_silent_is_given_up_after_its_time():
    answer = deadlines.in_thread(lambda: time.sleep(0.5), "cache", 0.01)
    with pytest.raises(Exception, match=r"did not answer within 0.01 s"):
        answer()
    assert deadlines.in_thread(lambda: 3, "cache", 5)() == 3


def test_parked_jobs_that_are_late_are_a_problem():
    values = {"connection": "cache", "queue": "mail", "name": "shop.Mail", "payload": "{}"}
    Outbox.objects.create(
        **values, uuid="0" * 32, created_at=Now(), due_at=Now() - timedelta(hours=1), parked=True
    )
    Outbox.objects.create(
        **values, uuid="1" * 32, created_at=Now(), due_at=Now() + timedelta(hours=1), parked=True
    )
    Outbox.objects.create(**values, uuid="2" * 32, created_at=Now(), chain="a batch")
    Outbox.objects.create(  # a batch that is a step of a chain
        **{**values, "connection": ""}, uuid="3" * 32, created_at=Now(), chain="a chain"
    )
    response = page()
    [parked] = response.context["overview"].parked
    assert (parked.later, parked.late, parked.bound) == (1, 1, 1)
    assert problems(response) == ["1 parked job of cache is not in its store yet, due 1 h ago."]


def test_the_live_part_is_the_page_without_its_frame():
    waiting(queue="mail")
    html = client().get(f"{OVERVIEW}live/").content.decode()
    assert "database:mail" in html
    assert "<html" not in html
    assert client("view_queuedjob", view=False).get(f"{OVERVIEW}live/").status_code == 403


def test_hostile_names_are_text():
    canary = "<img src=x onerror=alert(1)>\x1b[31m"
    controls.pause("database", "mail", reason=canary, by=canary)
    failed(canary, exception_class=canary, exception=f'File "{canary}", line 1, in x')
    html = page("pause_queue", "retry_failedjob").content.decode()
    assert "<img" not in html
    assert "\x1b" not in html


def test_stores_are_asked_once_for_all_who_look_at_that_time(monkeypatch):
    asked = []
    report = status.report
    monkeypatch.setattr(reading, "KEEP_FOR", 60.0)
    monkeypatch.setattr(status, "report", lambda **how: asked.append(how) or report(**how))
    failed("shop.Mail")
    assert page().context["overview"].failed == 1
    hidden = client("view_overview", view=False).get(OVERVIEW)
    assert (hidden.context["overview"].failed, len(asked)) == (0, 1)
    assert "shop.Mail" not in hidden.content.decode()
    controls.pause("database", "mail")
    assert [each.status.pause is None for each in page().context["overview"].queues][-1] is False
    assert len(asked) == 2, "a pause shows at once"


def test_what_is_too_much_to_count_is_said_so(monkeypatch):
    monkeypatch.setattr(reading, "AT_MOST", 2)
    for _ in range(4):
        waiting(queue="mail")
    values = {"connection": "cache", "queue": "mail", "name": "shop.Mail", "payload": "{}"}
    for digit in "1234":
        Outbox.objects.create(**values, uuid=digit * 32, created_at=Now(), chain="a chain")
    response = page()
    assert "database:mail holds at least 3 jobs" in problems(response)[0]
    assert response.content.decode().count("2+</") == 2
