"""What operators do to jobs, and what happens when a worker is faster."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, DELETION
from django.test import override_settings
from django.urls import reverse

from djqueue.admin import operator
from djqueue.models import QueuedJob
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
CONFIRMED = {"confirmed": "yes"}

CASES: list[tuple[str, str, tuple[str, ...], Callable[..., QueuedJob]]] = [
    ("delete_jobs", "delete", ("delete_queuedjob",), waiting),
    ("delete_jobs", "delete", ("delete_queuedjob",), delayed),
    ("delete_jobs", "delete", ("delete_queuedjob",), stuck),
    ("force_delete_jobs", "force_delete", ("delete_queuedjob", "force_delete_job"), running),
    ("release_jobs", "release", ("release_job",), stuck),
    ("run_jobs_now", "run_now", ("release_job",), delayed),
]


def _unchanged(row: QueuedJob) -> bool:
    found = QueuedJob.objects.filter(pk=row.pk).values().first()
    return found == QueuedJob.objects.filter(pk=row.pk).values().first() and found == {
        field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields
    }


@pytest.mark.parametrize(("action", "verb", "permissions", "make"), CASES)
def test_an_action_needs_exactly_its_permissions(
    action: str, verb: str, permissions: tuple[str, ...], make: Callable[..., QueuedJob]
) -> None:
    for missing in permissions:
        row = make()
        browser = client(*(code for code in ALL if code != missing))
        assert f'value="{action}"' not in browser.get(JOBS).content.decode()
        assert f"/act/{verb}/" not in browser.get(f"{JOBS}{row.pk}/change/").content.decode()
        act(browser, JOBS, action, [row], **CONFIRMED)
        assert press(browser, row, verb, **CONFIRMED).status_code == 403
        assert _unchanged(row)
    assert logged() == []

    row = make()
    browser = client(*permissions)
    assert f'value="{action}"' in browser.get(JOBS).content.decode()
    assert f"/act/{verb}/" in browser.get(f"{JOBS}{row.pk}/change/").content.decode()
    act(browser, JOBS, action, [row], **CONFIRMED)
    assert not _unchanged(row)
    row = make()
    assert press(browser, row, verb, **CONFIRMED).status_code == 302
    assert not _unchanged(row)
    assert len(logged()) == 2


@pytest.mark.parametrize(("action", "verb", "permissions", "make"), CASES)
def test_who_may_not_see_jobs_may_do_nothing_to_them(
    action: str, verb: str, permissions: tuple[str, ...], make: Callable[..., QueuedJob]
) -> None:
    row = make()
    browser = client(*permissions, view=False)
    assert act(browser, JOBS, action, [row], **CONFIRMED).status_code == 403
    assert press(browser, row, verb, **CONFIRMED).status_code == 403
    assert _unchanged(row)


def test_nothing_is_done_by_get() -> None:
    row = waiting()
    url = reverse("admin:djqueue_queuedjob_act", args=[row.pk, "delete"])
    assert client(*ALL).get(url).status_code == 405
    assert exists(row)


def test_an_unknown_verb_is_not_found() -> None:
    assert client(*ALL).post(f"{JOBS}1/act/explode/").status_code == 404


def test_a_stuck_job_is_deleted_and_logged() -> None:
    row = stuck()
    response = act(client(*ALL), JOBS, "delete_jobs", [row])
    assert said(response) == ["Deleted 1 job."]
    assert not exists(row)
    [entry] = logged()
    assert entry.action_flag == DELETION
    assert entry.object_id == str(row.pk)
    assert str(row.uuid) in entry.object_repr
    assert json.loads(entry.change_message) == {"verb": "delete", "database": "default"}


def test_a_job_reserved_after_the_page_was_made_is_not_deleted() -> None:
    rows = [waiting(), waiting()]
    reserve(rows[0])
    response = act(client(*ALL), JOBS, "delete_jobs", rows)
    deleted, kept = said(response)
    assert deleted == "Deleted 1 job."
    assert kept == (
        "1 job was not deleted: worker web-1:4211 started it 2 s ago. Wait for the end, or use"
        " “Delete even though running”."
    )
    assert exists(rows[0])
    assert not exists(rows[1])
    assert len(logged()) == 1


def test_the_filters_of_the_list_hide_no_job_that_changed() -> None:
    row = stuck()
    reserve(row)
    response = act(client(*ALL), f"{JOBS}?state=stuck", "delete_jobs", [row])
    [kept] = said(response)
    assert "web-1:4211 started it" in kept
    assert exists(row)


def test_several_jobs_that_run_are_one_sentence() -> None:
    rows = [running(), running(), running()]
    [kept] = said(act(client(*ALL), JOBS, "delete_jobs", rows))
    assert kept.startswith("3 jobs were not deleted: workers have started them.")


def test_a_job_that_has_finished_is_told_apart() -> None:
    row = waiting()
    browser = client(*ALL)
    QueuedJob.objects.all().delete()
    [kept] = said(act(browser, JOBS, "delete_jobs", [row]))
    assert kept == "1 job was not deleted: it had already finished, or somebody had deleted it."
    assert logged() == []


def test_force_delete_asks_first() -> None:
    row = running()
    browser = client(*ALL)
    page = act(browser, JOBS, "force_delete_jobs", [row])
    assert "keeps executing the current attempt" in page.content.decode()
    assert "web-1:4211" in page.content.decode()
    assert exists(row)
    said_ = said(act(browser, JOBS, "force_delete_jobs", [row], **CONFIRMED))
    assert said_[0].startswith("Deleted 1 running job. The attempt that runs goes on")
    assert not exists(row)


def test_force_delete_spares_an_attempt_that_the_operator_has_not_seen() -> None:
    row = running()
    QueuedJob.objects.filter(pk=row.pk).update(reservation=row.reservation + 1)
    [kept] = said(act(client(*ALL), JOBS, "force_delete_jobs", [row], **CONFIRMED))
    assert kept.startswith("1 job was not deleted: it was taken again by web-1:4211 2 s ago.")
    assert exists(row)


def test_force_delete_of_a_job_that_does_not_run_points_to_delete() -> None:
    [kept] = said(act(client(*ALL), JOBS, "force_delete_jobs", [waiting()], **CONFIRMED))
    assert kept == "1 job was not deleted: it is not running (now: Waiting). Use “Delete”."


def test_a_released_job_waits_again_with_an_interruption_on_record() -> None:
    row = stuck()
    response = act(client(*ALL), JOBS, "release_jobs", [row])
    assert said(response) == ["Released 1 stuck job. The next free worker takes over."]
    before = row.reservation
    row.refresh_from_db()
    assert (row.line, row.reserved_by, row.reserved_at) == (0, None, None)
    assert (row.attempts, row.interruptions) == (0, 1)
    assert row.reservation == before + 1
    assert logged()[0].action_flag == CHANGE


def test_a_stuck_job_that_was_taken_again_is_not_released() -> None:
    row = stuck()
    fresh = QueuedJob.objects.get(pk=row.pk)
    reserve(fresh, worker("web-2:7"))
    [kept] = said(act(client(*ALL), JOBS, "release_jobs", [row]))
    assert kept.startswith("1 job was not released: it was taken again by web-2:7 2 s ago.")
    assert _unchanged(fresh)


def test_a_job_stuck_in_another_attempt_than_was_seen_is_not_released() -> None:
    row = stuck()
    QueuedJob.objects.filter(pk=row.pk).update(reservation=row.reservation + 1)
    [kept] = said(act(client(*ALL), JOBS, "release_jobs", [row]))
    assert "taken again" in kept


def test_a_delayed_job_may_run_now() -> None:
    row = delayed(priority=5)
    assert said(act(client(*ALL), JOBS, "run_jobs_now", [row])) == ["1 delayed job may run now."]
    row.refresh_from_db()
    assert row.line == -5


def test_a_job_that_waits_is_left_where_it_is() -> None:
    row = waiting()
    [kept] = said(act(client(*ALL), JOBS, "run_jobs_now", [row]))
    assert kept == "1 job was left as it is: it is not delayed (now: Waiting)."
    assert _unchanged(row)


def test_up_to_a_hundred_jobs_are_logged_one_by_one_and_more_as_one() -> None:
    browser = client(*ALL)
    act(browser, JOBS, "delete_jobs", [waiting() for _ in range(100)])
    assert len(logged()) == 100
    act(browser, JOBS, "delete_jobs", [waiting() for _ in range(101)])
    *_, summary = logged()
    assert len(logged()) == 101
    assert json.loads(summary.change_message)["changed"] == 101
    assert client("delete_queuedjob").get("/admin/").status_code == 200


def test_a_log_that_cannot_be_written_undoes_the_action(monkeypatch: pytest.MonkeyPatch) -> None:
    row = waiting()

    def fail(*args: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(operator.audit, "record", fail)
    with pytest.raises(RuntimeError):
        act(client(*ALL), JOBS, "delete_jobs", [row])
    assert exists(row)


def test_all_that_match_are_asked_about_and_newer_ones_are_spared() -> None:
    rows = [waiting() for _ in range(3)]
    other = waiting(queue="mail")
    browser = client(*ALL)
    url = f"{JOBS}?queue=default"
    page = act(browser, url, "delete_jobs", rows, select_across="1")
    assert "3 jobs" in page.content.decode()
    assert page.context["newest"] == rows[-1].pk
    later = waiting()
    form = {"select_across": "1", "newest": str(rows[-1].pk), **CONFIRMED}
    assert said(act(browser, url, "delete_jobs", rows[:1], **form)) == ["Deleted 3 jobs."]
    assert exists(later)
    assert exists(other)


def test_more_than_the_limit_at_once_needs_a_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator, "AT_ONCE", 2)
    monkeypatch.setattr(operator, "SLICE", 2)
    rows = [waiting() for _ in range(3)]
    form = {"select_across": "1", **CONFIRMED}
    [refused] = said(act(client(*ALL), JOBS, "delete_jobs", rows, **form))
    assert refused.startswith("Nothing was changed: more than 2 rows match")
    assert all(map(exists, rows))
    allowed = client(*ALL, "bulk_operations")
    assert said(act(allowed, JOBS, "delete_jobs", rows, **form)) == ["Deleted 3 jobs."]


def test_after_a_button_the_page_of_the_job_or_the_list_follows() -> None:
    browser = client(*ALL)
    row = stuck()
    assert press(browser, row, "release").url == f"{JOBS}{row.pk}/change/"
    assert press(browser, row, "delete").url == JOBS


def test_force_delete_by_button_asks_first() -> None:
    browser = client(*ALL)
    row = running()
    page = press(browser, row, "force_delete")
    assert page.status_code == 200
    assert exists(row)
    tokens = page.context["rows"]
    press(browser, row, "force_delete", seen=tokens[0][2], **CONFIRMED)
    assert not exists(row)


@pytest.mark.django_db(databases=["default", "queue"])
@override_settings(DJQUEUE=TWO_DATABASES)
def test_actions_reach_the_database_of_the_list() -> None:
    here = waiting(pk=7)
    there = waiting(pk=7, using="queue")
    browser = client(*ALL)
    act(browser, f"{JOBS}?database=queue", "delete_jobs", [there])
    assert exists(here)
    assert not exists(there)
    [entry] = logged()
    assert json.loads(entry.change_message)["database"] == "queue"


def test_damaged_forms_do_nothing() -> None:
    row = stuck()
    browser = client(*ALL)
    url = reverse("admin:djqueue_queuedjob_act", args=[row.pk, "release"])
    assert browser.post(url, {"seen": ["x:1", "1", ":", f"{row.pk}:-1", "9" * 30 + ":1"]})
    data = {"action": "delete_jobs", "index": "0", "_selected_action": ["-1", "9" * 30]}
    assert browser.post(JOBS, data).status_code in (200, 302)


def test_django_s_own_ways_to_write_are_closed() -> None:
    row = waiting()
    browser = client("add_queuedjob", "change_queuedjob", "delete_queuedjob")
    assert browser.get(f"{JOBS}add/").status_code == 403
    assert browser.post(f"{JOBS}{row.pk}/change/", {"name": "x"}).status_code == 403
    assert browser.post(f"{JOBS}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    act(browser, JOBS, "delete_selected", [row], post="yes")
    assert exists(row)
