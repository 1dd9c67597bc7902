"""Everything that matches: in steps, resumable, and nothing that came later."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from djqueue.admin import operator
from djqueue.admin.bulk import bulk
from djqueue.admin.verbs import recorded as recorded_verbs
from djqueue.drivers.database import changing
from djqueue.errors import QueueUnavailable
from djqueue.models import FailedJob, QueuedJob
from djqueue.operations.verbs import moving
from tests.admin.support import (
    FAILED,
    JOBS,
    client,
    delayed,
    failed,
    logged,
    reserve,
    said,
    text_of,
    waiting,
)

pytestmark = pytest.mark.django_db

ALL = ("delete_queuedjob", "retry_failedjob", "delete_failedjob", "release_job", "bulk_operations")


@pytest.fixture
def slow(monkeypatch):
    """A step does two rows."""
    monkeypatch.setattr(bulk, "SLICE", 2)
    monkeypatch.setattr(bulk, "STEP", 0.0)


def ask(browser, url, verb, query=""):
    """Press the button above the list; the question."""
    return browser.post(f"{url}all/{verb}/{query}")


def answer(browser, question, **fields):
    """Send the form of a question."""
    form = {"confirmed": "yes", "newest": str(question.context["newest"]), **fields}
    return browser.post(question.wsgi_request.get_full_path(), form)


def known(**columns):
    return failed("app.record", payload=text_of("app.record", {"number": 1}), **columns)


def test_the_buttons_say_how_many_and_whether_all_or_those_that_match():
    for queue in ("mail", "mail", "pdf"):
        failed(queue=queue)
    browser = client(*ALL)
    assert "Forget: all 3…" in browser.get(FAILED).content.decode()
    assert "Retry: all 2 that match…" in browser.get(FAILED, {"queue": "mail"}).content.decode()
    assert "all 3" not in client().get(FAILED).content.decode()
    assert "all/forget/" not in browser.get(FAILED, {"queue": "no"}).content.decode()


def test_an_act_in_steps_goes_on_where_it_stopped_and_is_one_entry(slow):
    rows = [failed(queue="mail") for _ in range(5)]
    other = failed(queue="pdf")
    browser = client(*ALL)
    question = ask(browser, FAILED, "forget", "?queue=mail")
    assert "5 failed jobs" in question.content.decode()
    assert logged() == []
    later = failed(queue="mail")
    step = answer(browser, question)
    assert FailedJob.objects.filter(queue="mail").count() == 4
    page = browser.get(step.url)
    assert "2 of 5 done" in page.content.decode()
    assert "data-djq-continue" in page.content.decode()
    # The page goes on once: not when it is loaded again, whatever its address.
    for address in (step.url, f"{step.url}?on=1"):
        assert "data-djq-continue" not in browser.get(address).content.decode()
    # The browser is closed. The list has a link, behind which nothing goes on by itself.
    listed = browser.get(FAILED).content.decode()
    assert "Forget: 2 of 5 done" in listed
    [entry] = logged()
    url = f"{FAILED}bulk/{entry.pk}/"
    assert url in listed
    assert "data-djq-continue" not in browser.get(url).content.decode()
    assert "4 of 5 done" in browser.post(url, follow=True).content.decode()
    last = browser.post(url)
    assert last.url == f"{FAILED}?queue=mail"
    assert said(last)[-1] == "Forgot 5 failed jobs."
    assert set(FailedJob.objects.values_list("pk", flat=True)) == {other.pk, later.pk}
    assert rows[0].pk not in (other.pk, later.pk)
    [entry] = logged()
    assert entry.object_repr == "5 failed jobs"
    recorded = json.loads(entry.change_message)
    assert (recorded["changed"], recorded["matched"], recorded["ended"]) == (5, 5, True)
    assert "bulk/" not in browser.get(FAILED).content.decode()
    assert "finished" in browser.get(url).content.decode()
    browser.post(url)
    assert FailedJob.objects.count() == 2


def test_all_failed_jobs_are_retried_and_what_fails_meanwhile_is_left(slow):
    for _ in range(3):
        known()
    browser = client(*ALL)
    step = answer(browser, ask(browser, FAILED, "retry"))
    later = known()
    browser.post(step.url)
    browser.post(step.url)
    assert QueuedJob.objects.count() == 3
    assert list(FailedJob.objects.values_list("pk", flat=True)) == [later.pk]


def test_what_was_in_a_span_of_time_at_the_beginning_is_meant_to_the_end(slow):
    rows = [failed(failed_at=Now() - timedelta(minutes=14)) for _ in range(3)]
    browser = client(*ALL)
    step = answer(browser, ask(browser, FAILED, "forget", "?failed=15m"))
    [entry] = logged()
    recorded = json.loads(entry.change_message)
    # Ten minutes later, by the time on record.
    FailedJob.objects.update(failed_at=Now() - timedelta(minutes=24))
    recorded["began"] = (rows[0].failed_at + timedelta(minutes=4)).isoformat()
    entry.change_message = json.dumps(recorded)
    entry.save()
    browser.post(step.url)
    assert not FailedJob.objects.exists()


def test_those_that_were_left_are_counted_with_their_reasons(slow):
    rows = [waiting() for _ in range(6)]
    reserve(rows[0])
    reserve(rows[3])
    browser = client(*ALL)
    step = answer(browser, ask(browser, JOBS, "delete"))
    rows[5].delete()
    page = browser.post(step.url, follow=True).content.decode()
    assert "4 of 6 done" in page
    assert "2 jobs were not deleted: workers have started them." in page
    for _ in range(2):
        last = browser.post(step.url)
    assert said(last)[-3:] == [
        "Deleted 3 jobs.",
        "2 jobs were not deleted: workers have started them.",
        "1 matched at the beginning, and did not any more when it was its turn.",
    ]


@pytest.mark.parametrize("permissions", [("view_exception",), ("retry_failedjob",)])
def test_beginning_and_going_on_need_the_permission(slow, permissions):
    for _ in range(3):
        failed()
    browser = client(*ALL)
    step = answer(browser, ask(browser, FAILED, "forget"))
    other = client(*permissions)
    assert ask(other, FAILED, "forget").status_code == 403
    assert other.post(f"{FAILED}all/forget/", {"confirmed": "yes"}).status_code == 403
    # That of another operator, even of one who may do it.
    for stranger in (other, client(*ALL)):
        assert stranger.post(step.url).status_code == 404
        assert stranger.get(step.url).status_code == 404
    assert FailedJob.objects.count() == 1


def test_a_permission_that_was_taken_away_ends_it(slow):
    for _ in range(3):
        failed()
    browser = client(*ALL)
    step = answer(browser, ask(browser, FAILED, "forget"))
    question_user = logged()[0].user
    question_user.user_permissions.clear()
    assert browser.post(step.url).status_code == 403
    assert FailedJob.objects.count() == 1


def test_more_than_the_limit_needs_the_permission_for_it(monkeypatch):
    monkeypatch.setattr(operator, "AT_ONCE", 2)
    for _ in range(3):
        failed()
    browser = client("delete_failedjob")
    response = browser.post(f"{FAILED}all/forget/", {"confirmed": "yes"})
    assert said(response)[-1].startswith("Nothing was changed: more than 2 rows match")
    assert FailedJob.objects.count() == 3


@pytest.mark.parametrize(
    ("url", "status"),
    [("all/explode/", 404), ("all/force_delete/", 404), ("bulk/1/", 404), ("bulk/999999999/", 404)],
)
def test_forged_addresses_are_not_found(url, status):
    waiting()
    browser = client(*ALL, "force_delete_job")
    assert browser.post(f"{JOBS}{url}").status_code == status
    assert QueuedJob.objects.count() == 1


def test_nothing_is_begun_by_get():
    assert client(*ALL).get(f"{JOBS}all/delete/").status_code == 405


def test_another_window_that_is_at_it_is_left_to_it(slow):
    for _ in range(3):
        failed()
    browser = client(*ALL)
    step = answer(browser, ask(browser, FAILED, "forget"))
    [entry] = logged()
    entry.change_message = json.dumps({**json.loads(entry.change_message), "held_until": 9e9})
    entry.save()
    assert said(browser.post(step.url))[-1] == "Another window is at it. Look again in a moment."
    assert FailedJob.objects.count() == 1


def test_a_store_that_does_not_answer_interrupts_it(slow, monkeypatch):
    for _ in range(3):
        known()
    browser = client(*ALL)
    question = ask(browser, FAILED, "retry")

    def away(*args, **how):
        raise QueueUnavailable("The store is away.")

    with monkeypatch.context() as patch:
        patch.setattr("djqueue.operations.retrying.push_all", away)
        step = answer(browser, question)
        page = browser.get(step.url).content.decode()
        assert "It was interrupted: The store is away." in page
        assert "data-djq-continue" not in page
    assert FailedJob.objects.count() == 3
    browser.post(step.url)
    browser.post(step.url)
    assert QueuedJob.objects.count() == 3


def test_nothing_that_matches_is_said():
    response = client(*ALL).post(f"{JOBS}all/delete/", {"confirmed": "yes"})
    assert said(response) == ["Nothing was changed: nothing matches."]
    assert response.url == JOBS


def test_the_pages_ask_few_queries(slow):
    for _ in range(3):
        failed()
    browser = client(*ALL)
    step = answer(browser, ask(browser, FAILED, "forget"))
    for url in (FAILED, step.url):
        with CaptureQueriesContext(connection) as queries:
            browser.get(url)
        ours = [each["sql"] for each in queries if '"auth_' not in each["sql"]]
        ours = [sql for sql in ours if "django_session" not in sql and "`auth_" not in sql]
        assert len(ours) <= 8, "\n".join(ours)


def test_run_now_of_all_is_offered_where_all_are_delayed():
    row = delayed()
    browser = client(*ALL)
    assert "all/run_now/" not in browser.get(JOBS).content.decode()
    assert "all/run_now/" in browser.get(JOBS, {"state": "delayed"}).content.decode()
    question = ask(browser, JOBS, "run_now", "?state=delayed")
    assert said(answer(browser, question)) == ["1 delayed job may run now."]
    row.refresh_from_db()
    assert row.line == 0


class _Breaks:
    """Does as another function until the `at`-th call, in which it raises `error`."""

    def __init__(self, function, at, error):
        self._function, self._left, self._error = function, at, error

    def __call__(self, *args):
        self._left -= 1
        if self._left == 0:
            raise self._error
        return self._function(*args)


def test_rows_that_were_done_before_an_interruption_count_once(slow, monkeypatch):
    rows = [waiting(priority=0) for _ in range(3)]
    place = changing.place
    away = QueueUnavailable("It does not answer.")
    browser = client(*ALL, "change_queuedjob")
    selected = dict.fromkeys(("select_across", "action"), "")
    data = {**selected, "select_across": "1", "action": "change_jobs", "priority": "7"}
    data |= {"confirmed": "yes", "newest": str(rows[-1].pk), "index": "0"}
    monkeypatch.setattr(moving, "AT_ONCE", 1)
    monkeypatch.setattr(changing, "place", _Breaks(place, 2, away))
    step = browser.post(JOBS, {**data, "_selected_action": [row.pk for row in rows]})
    [entry] = logged()
    assert json.loads(entry.change_message)["changed"] == 1
    monkeypatch.setattr(changing, "place", place)
    for _ in range(3):
        step = browser.post(f"{JOBS}bulk/{entry.pk}/")
    assert said(step)[-1] == "Changed 3 jobs."
    recorded = json.loads(logged()[0].change_message)
    assert (recorded["changed"], recorded["skipped"], recorded["ended"]) == (3, 0, True)
    assert QueuedJob.objects.filter(priority=7).count() == 3


def test_what_was_done_before_an_exception_is_on_record(monkeypatch, caplog):
    for _ in range(4):
        failed()
    monkeypatch.setattr(bulk, "SLICE", 2)
    caplog.set_level("INFO", "djqueue.audit")
    browser = client(*ALL)
    question = ask(browser, FAILED, "forget")
    monkeypatch.setattr(
        recorded_verbs, "_locked", _Breaks(recorded_verbs._locked, 2, ZeroDivisionError())
    )
    with pytest.raises(ZeroDivisionError):
        answer(browser, question)
    assert FailedJob.objects.count() == 2
    (record,) = (each for each in caplog.records if each.name == "djqueue.audit")
    assert "2" in record.getMessage()


def test_two_acts_in_two_windows_go_on_side_by_side(slow):
    for queue in ("mail", "pdf"):
        for _ in range(5):
            failed(queue=queue)
    browser = client(*ALL)
    steps = [
        answer(browser, ask(browser, FAILED, "forget", f"?queue={queue}"))
        for queue in ("mail", "pdf")
    ]
    for step in steps:
        assert "data-djq-continue" in browser.get(step.url).content.decode()
    for step in steps:
        assert "data-djq-continue" not in browser.get(step.url).content.decode()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="others wait for a row that is written")
def test_a_step_on_sqlite_begins_with_a_write(slow):
    for _ in range(3):
        waiting()
    browser = client(*ALL)
    question = ask(browser, JOBS, "delete")
    with CaptureQueriesContext(connection) as queries:
        answer(browser, question)
    texts = [each["sql"] for each in queries]
    at = next(at for at, sql in enumerate(texts) if sql.startswith("DELETE"))
    begun = max(before for before, sql in enumerate(texts[:at]) if sql.startswith("SAVEPOINT"))
    assert texts[begun + 1].startswith("UPDATE")
