"""What operators do to jobs, and what happens when a worker is faster."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, DELETION
from django.contrib.auth.models import User
from django.test import override_settings
from django.urls import reverse

from djqueue.admin import operator
from djqueue.admin.bulk import bulk
from djqueue.models import QueuedJob, Worker
from tests.admin.support import (
    JOBS,
    act,
    client,
    delayed,
    exists,
    logged,
    press,
    reserve,
    running,
    said,
    stuck,
    waiting,
    worker,
)
from tests.admin.test_job_list import TWO_DATABASES

pytestmark = pytest.mark.django_db

ALL = ("delete_queuedjob", "force_delete_job", "release_job")

CASES: list[tuple[str, str, tuple[str, ...], Callable[..., QueuedJob]]] = [
    ("delete_jobs", "delete", ("delete_queuedjob",), waiting),
    ("delete_jobs", "delete", ("delete_queuedjob",), delayed),
    ("delete_jobs", "delete", ("delete_queuedjob",), stuck),
    ("force_delete_jobs", "force_delete", ("delete_queuedjob", "force_delete_job"), running),
    ("release_jobs", "release", ("release_job",), stuck),
    ("run_jobs_now", "run_now", ("release_job",), delayed),
]


def _seen(page: Any) -> dict[str, str]:
    return {"seen": page.context["seen"]}


def in_seconds(told):
    """A message, whatever the number of seconds is that a busy machine has taken."""
    return re.sub(r"\d+ s ago", "N s ago", told)


def _unchanged(row: QueuedJob) -> bool:
    found = QueuedJob.objects.filter(pk=row.pk).values().first()
    return found == QueuedJob.objects.filter(pk=row.pk).values().first() and found == {
        field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields
    }


@pytest.mark.parametrize(("action", "verb", "permissions", "make"), CASES)
def test_an_action_needs_exactly_its_permissions(action, verb, permissions, make):
    for missing in permissions:
        row = make()
        browser = client(*(code for code in ALL if code != missing))
        assert f'value="{action}"' not in browser.get(JOBS).content.decode()
        assert f"/act/{verb}/" not in browser.get(f"{JOBS}{row.pk}/change/").content.decode()
        act(browser, JOBS, action, [row])
        assert press(browser, row, verb).status_code == 403
        assert _unchanged(row)
    assert logged() == []

    row = make()
    browser = client(*permissions)
    assert f'value="{action}"' in browser.get(JOBS).content.decode()
    assert f"/act/{verb}/" in browser.get(f"{JOBS}{row.pk}/change/").content.decode()
    act(browser, JOBS, action, [row])
    assert not _unchanged(row)
    row = make()
    assert press(browser, row, verb).status_code == 302
    assert not _unchanged(row)
    assert len(logged()) == 2


@pytest.mark.parametrize(("action", "verb", "permissions", "make"), CASES)
def test_who_may_not_see_jobs_may_do_nothing_to_them(action, verb, permissions, make):
    row = make()
    browser = client(*permissions, view=False)
    assert act(browser, JOBS, action, [row]).status_code == 403
    assert press(browser, row, verb).status_code == 403
    assert _unchanged(row)


def test_nothing_is_done_by_get():
    row = waiting()
    url = reverse("admin:djqueue_queuedjob_act", args=[row.pk, "delete"])
    assert client(*ALL).get(url).status_code == 405
    assert exists(row)


def test_an_unknown_verb_is_not_found():
    assert client(*ALL).post(f"{JOBS}1/act/explode/").status_code == 404


def test_a_stuck_job_is_deleted_and_logged():
    row = stuck()
    response = act(client(*ALL), JOBS, "delete_jobs", [row])
    assert said(response) == ["Deleted 1 job."]
    assert not exists(row)
    [entry] = logged()
    assert entry.action_flag == DELETION
    assert entry.object_id == str(row.pk)
    assert str(row.uuid) in entry.object_repr
    assert json.loads(entry.change_message) == {"verb": "delete", "database": "default"}


def test_a_job_reserved_after_the_page_was_made_is_not_deleted():
    rows = [waiting(), waiting()]
    reserve(rows[0])
    response = act(client(*ALL), JOBS, "delete_jobs", rows)
    deleted, kept = said(response)
    assert deleted == "Deleted 1 job."
    assert in_seconds(kept) == (
        "1 job was not deleted: worker web-1:4211 started it N s ago. Wait for the end, or use"
        " “Delete even though running”."
    )
    assert exists(rows[0])
    assert not exists(rows[1])
    assert len(logged()) == 1


def test_the_filters_of_the_list_hide_no_job_that_changed():
    row = stuck()
    reserve(row)
    response = act(client(*ALL), f"{JOBS}?state=stuck", "delete_jobs", [row])
    [kept] = said(response)
    assert "web-1:4211 started it" in kept
    assert exists(row)


def test_several_jobs_that_run_are_one_sentence():
    rows = [running(), running(), running()]
    [kept] = said(act(client(*ALL), JOBS, "delete_jobs", rows))
    assert kept.startswith("3 jobs were not deleted: workers have started them.")


def test_a_job_that_has_finished_is_told_apart():
    row = waiting()
    browser = client(*ALL)
    QueuedJob.objects.all().delete()
    [kept] = said(act(browser, JOBS, "delete_jobs", [row]))
    assert kept == "1 job was not deleted: it had already finished or been deleted."
    assert logged() == []


def test_force_delete_asks_first():
    row = running()
    browser = client(*ALL)
    page = act(browser, JOBS, "force_delete_jobs", [row], answered=False)
    assert "keeps executing the current attempt" in page.content.decode()
    assert "web-1:4211" in page.content.decode()
    assert exists(row)
    said_ = said(act(browser, JOBS, "force_delete_jobs", [row]))
    assert said_[0].startswith("Deleted 1 running job. The attempt that runs goes on")
    assert not exists(row)


def test_force_delete_spares_an_attempt_that_the_operator_has_not_seen():
    row = running()
    QueuedJob.objects.filter(pk=row.pk).update(reservation=row.reservation + 1)
    [kept] = said(act(client(*ALL), JOBS, "force_delete_jobs", [row]))
    assert in_seconds(kept).startswith(
        "1 job was not deleted: it was taken again by web-1:4211 N s ago."
    )
    assert exists(row)


def test_force_delete_of_a_job_that_does_not_run_points_to_delete():
    [kept] = said(act(client(*ALL), JOBS, "force_delete_jobs", [waiting()]))
    assert kept == "1 job was not deleted: it is not running (now: Waiting). Use “Delete”."


def test_a_released_job_waits_again_with_an_interruption_on_record():
    row = stuck()
    response = act(client(*ALL), JOBS, "release_jobs", [row])
    assert said(response) == ["Released 1 stuck job. The next free worker takes over."]
    before = row.reservation
    row.refresh_from_db()
    assert (row.line, row.reserved_by, row.reserved_at) == (0, None, None)
    assert (row.attempts, row.interruptions) == (0, 1)
    assert row.reservation == before + 1
    assert logged()[0].action_flag == CHANGE


def test_a_stuck_job_that_was_taken_again_is_not_released():
    row = stuck()
    fresh = QueuedJob.objects.get(pk=row.pk)
    reserve(fresh, worker("web-2:7"))
    [kept] = said(act(client(*ALL), JOBS, "release_jobs", [row]))
    assert in_seconds(kept).startswith(
        "1 job was not released: it was taken again by web-2:7 N s ago."
    )
    assert _unchanged(fresh)


def test_a_job_stuck_in_another_attempt_than_was_seen_is_not_released():
    row = stuck()
    QueuedJob.objects.filter(pk=row.pk).update(reservation=row.reservation + 1)
    [kept] = said(act(client(*ALL), JOBS, "release_jobs", [row]))
    assert "taken again" in kept


def test_a_delayed_job_may_run_now():
    row = delayed(priority=5)
    assert said(act(client(*ALL), JOBS, "run_jobs_now", [row])) == ["1 delayed job may run now."]
    row.refresh_from_db()
    assert row.line == -5


def test_a_job_that_waits_is_left_where_it_is():
    row = waiting()
    [kept] = said(act(client(*ALL), JOBS, "run_jobs_now", [row]))
    assert kept == "1 job was left as it is: it is not delayed (now: Waiting)."
    assert _unchanged(row)


def test_up_to_a_hundred_jobs_are_logged_one_by_one_and_more_as_one():
    browser = client(*ALL)
    act(browser, JOBS, "delete_jobs", [waiting() for _ in range(100)])
    assert len(logged()) == 100
    act(browser, JOBS, "delete_jobs", [waiting() for _ in range(101)])
    *_, summary = logged()
    assert len(logged()) == 101
    assert json.loads(summary.change_message)["changed"] == 101
    assert client("delete_queuedjob").get("/admin/").status_code == 200


def test_a_log_that_cannot_be_written_undoes_the_action(monkeypatch):
    row = waiting()

    def fail(*args: Any, **how: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(operator.audit.Record, "add", fail)
    with pytest.raises(RuntimeError):
        act(client(*ALL), JOBS, "delete_jobs", [row])
    assert exists(row)


def test_all_that_match_are_asked_about_and_newer_ones_are_spared():
    rows = [waiting() for _ in range(3)]
    other = waiting(queue="mail")
    browser = client(*ALL)
    url = f"{JOBS}?queue=default"
    page = act(browser, url, "delete_jobs", rows, select_across="1", answered=False)
    assert "3 jobs" in page.content.decode()
    assert page.context["newest"] == rows[-1].pk
    later = waiting()
    form = {"select_across": "1", "newest": str(rows[-1].pk)}
    assert said(act(browser, url, "delete_jobs", rows[:1], **form)) == ["Deleted 3 jobs."]
    assert exists(later)
    assert exists(other)


def test_more_than_the_limit_at_once_needs_a_permission(monkeypatch):
    monkeypatch.setattr(operator, "AT_ONCE", 2)
    monkeypatch.setattr(operator, "SLICE", 2)
    rows = [waiting() for _ in range(3)]
    form = {"select_across": "1"}
    [refused] = said(act(client(*ALL), JOBS, "delete_jobs", rows, **form))
    assert refused.startswith("Nothing was changed: more than 2 rows match")
    assert all(map(exists, rows))
    allowed = client(*ALL, "bulk_operations")
    assert said(act(allowed, JOBS, "delete_jobs", rows, **form)) == ["Deleted 3 jobs."]


def test_after_a_button_the_page_of_the_job_or_the_list_follows():
    browser = client(*ALL)
    row = stuck()
    assert press(browser, row, "release").url == f"{JOBS}{row.pk}/change/"
    assert press(browser, row, "delete").url == JOBS


def test_force_delete_by_button_asks_first():
    browser = client(*ALL)
    row = running()
    page = press(browser, row, "force_delete", answered=False)
    assert page.status_code == 200
    assert exists(row)
    press(browser, row, "force_delete", seen=page.context["seen"])
    assert not exists(row)


@pytest.mark.django_db(databases=["default", "queue"])
@override_settings(DJQUEUE=TWO_DATABASES)
def test_actions_reach_the_database_of_the_list():
    here = waiting(pk=7)
    there = waiting(pk=7, using="queue")
    browser = client(*ALL)
    act(browser, f"{JOBS}?database=queue", "delete_jobs", [there])
    assert exists(here)
    assert not exists(there)
    [entry] = logged()
    assert json.loads(entry.change_message)["database"] == "queue"


def test_damaged_forms_do_nothing():
    row = stuck()
    browser = client(*ALL)
    url = reverse("admin:djqueue_queuedjob_act", args=[row.pk, "release"])
    assert browser.post(url, {"seen": ["x:1", "1", ":", f"{row.pk}:-1", "9" * 30 + ":1"]})
    data = {"action": "delete_jobs", "index": "0", "_selected_action": ["-1", "9" * 30]}
    assert browser.post(JOBS, data).status_code in (200, 302)


def test_django_s_own_ways_to_write_are_closed():
    row = waiting()
    browser = client("add_queuedjob", "change_queuedjob", "delete_queuedjob")
    assert browser.get(f"{JOBS}add/").status_code == 403
    assert browser.post(f"{JOBS}{row.pk}/change/", {"name": "x"}).status_code == 403
    assert browser.post(f"{JOBS}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    act(browser, JOBS, "delete_selected", [row], post="yes")
    assert exists(row)


def test_what_deletes_asks_before_it_does():
    browser = client(*ALL)
    row, other = waiting(), running()
    for verb, action, each in (
        ("delete", "delete_jobs", row),
        ("force_delete", "force_delete_jobs", other),
    ):
        for page in (
            press(browser, each, verb, answered=False),
            act(browser, JOBS, action, [each], answered=False),
        ):
            assert page.status_code == 200
            assert each.name in page.content.decode()
        assert exists(each)


@pytest.mark.parametrize(
    ("action", "make"), [("force_delete_jobs", running), ("release_jobs", stuck)]
)
def test_all_means_the_attempts_that_were_there_when_it_was_asked(action, make):
    rows = [make() for _ in range(3)]
    browser = client(*ALL)
    url = f"{JOBS}?state={'running' if make is running else 'stuck'}"
    page = act(browser, url, action, rows[:1], select_across="1", answered=False)
    QueuedJob.objects.filter(pk=rows[1].pk).update(reservation=77)
    form = {"select_across": "1", "newest": str(page.context["newest"])}
    done, kept = said(act(browser, url, action, rows[:1], **form, **_seen(page)))
    assert "2 " in done
    assert "taken again" in kept
    assert QueuedJob.objects.get(pk=rows[1].pk).reservation == 77


@pytest.mark.parametrize(
    ("action", "make"), [("force_delete_jobs", running), ("release_jobs", stuck)]
)
def test_a_form_that_does_not_say_which_attempt_changes_nothing(action, make):
    row = make()
    [kept] = said(act(client(*ALL), JOBS, action, [row], seen=False))
    assert "did not say which attempt was meant" in kept
    assert _unchanged(row)


def test_a_stuck_job_whose_own_worker_is_back_is_told_apart():
    row = stuck()
    Worker.objects.update(alive_until="2999-01-01T00:00:00Z")
    [kept] = said(act(client(*ALL), JOBS, "release_jobs", [row]))
    assert kept == "1 job was not released: its worker gone-1:99 is alive again."


def test_more_than_one_request_acts_on_are_told_of(monkeypatch):
    monkeypatch.setattr(operator, "AT_MOST", 2)
    rows = [waiting() for _ in range(3)]
    browser = client(*ALL, "bulk_operations")
    page = act(browser, JOBS, "delete_jobs", rows, answered=False)
    assert "More rows match than the 2" in page.content.decode()
    done, more = said(act(browser, JOBS, "delete_jobs", rows))
    assert done == "Deleted 2 jobs."
    assert "The others are as they were" in more
    assert QueuedJob.objects.count() == 1


def test_the_limit_counts_selected_rows_as_well(monkeypatch):
    monkeypatch.setattr(operator, "AT_ONCE", 2)
    rows = [waiting() for _ in range(3)]
    [refused] = said(act(client(*ALL), JOBS, "delete_jobs", rows))
    assert refused.startswith("Nothing was changed: more than 2 rows match")
    assert all(map(exists, rows))


def test_one_action_is_one_entry_with_what_chose_the_rows(monkeypatch, caplog):
    monkeypatch.setattr(bulk, "SLICE", 2)
    rows = [waiting(queue="mail") for _ in range(5)]
    with caplog.at_level("INFO", "djqueue.audit"):
        act(client(*ALL), f"{JOBS}?queue=mail", "delete_jobs", rows, select_across="1")
    [entry] = logged()
    recorded = json.loads(entry.change_message)
    expected = {
        "verb": "delete",
        "database": "default",
        "filter": {"queue": "mail"},
        "newest": rows[-1].pk,
        "matched": 5,
        "changed": 5,
        "skipped": 0,
        "ended": True,
    }
    assert {name: recorded[name] for name in expected} == expected
    assert entry.object_repr == "5 jobs"
    [record] = caplog.records
    line = record.getMessage()
    assert all(str(row.uuid) in line for row in rows)
    assert "user0 delete: 5 changed, 0 left" in line


@pytest.mark.parametrize("place", [{"database": "queue"}, {"connection": "elsewhere"}])
def test_the_history_speaks_the_buttons_words_and_is_of_one_place(place):
    row = delayed()
    browser = client(*ALL)
    act(browser, JOBS, "run_jobs_now", [row])
    elsewhere = logged()[0]
    elsewhere.pk = None
    elsewhere.change_message = json.dumps({"verb": "delete", **place})
    elsewhere.save()
    page = browser.get(f"{JOBS}{row.pk}/history/").content.decode()
    assert "Run now" in page
    assert "verb" not in page
    assert ">Delete<" not in page


def test_no_name_forges_a_line_of_the_audit(caplog):
    browser = client(*ALL)
    User.objects.update(username="anna\n2026-01-01 CRITICAL forged")
    with caplog.at_level("INFO", "djqueue.audit"):
        act(browser, JOBS, "delete_jobs", [waiting("x\n2026-01-01 CRITICAL \x1b[31mforged")])
    assert "forged" in caplog.records[0].getMessage()
    assert caplog.records[0].getMessage().isprintable()
    assert logged()[0].object_repr.isprintable()
