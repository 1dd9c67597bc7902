"""Verbs that ask for something first, or that workers carry out."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta

import pytest
from django.test import override_settings
from django.utils import timezone

from djqueue.admin.verbs import stored
from djqueue.dispatch import controls
from djqueue.errors import QueueUnavailable
from djqueue.models import Control, FailedJob, QueuedJob
from djqueue.operations.verbs import running as running_verbs
from tests.admin.support import (
    FAILED,
    JOBS,
    act,
    client,
    failed,
    logged,
    press,
    running,
    said,
    text_of,
    waiting,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """No worker runs here that could stop a job."""
    monkeypatch.setattr(stored, "STOP_WITHIN", 0.0)


def known(**columns):
    """A waiting job that the code knows."""
    return waiting("app.record", payload=text_of("app.record", {"number": 7}), **columns)


def known_failure():
    return failed("app.record", payload=text_of("app.record", {"number": 7}))


JOB_VERBS = [
    ("change_jobs", "change", "change_queuedjob", known, {"priority": "7"}),
    ("move_jobs", "move", "change_queuedjob", known, {"queue": "slow"}),
    ("copy_jobs", "copy", "add_queuedjob", known, {}),
    ("stop_jobs", "stop", "stop_job", running, {}),
]
FAILED_VERBS = [
    ("copy_jobs", "copy", "add_queuedjob", known_failure, {}),
    ("spread_jobs", "spread", "retry_failedjob", known_failure, {"pace": "1/m"}),
]
EVERY = ("change_queuedjob", "add_queuedjob", "stop_job", "retry_failedjob")


def state():
    """Everything that a verb could have changed."""
    models = (QueuedJob, FailedJob, Control)
    return [list(model.objects.order_by("pk").values()) for model in models]


@pytest.mark.parametrize(
    ("url", "action", "verb", "permission", "make", "fields"),
    [(JOBS, *case) for case in JOB_VERBS] + [(FAILED, *case) for case in FAILED_VERBS],
)
def test_a_verb_needs_its_permission_and_an_answer(url, action, verb, permission, make, fields):
    row = make()
    before = state()
    forbidden = client(*(each for each in EVERY if each != permission))
    # To Django the permission to change rows is one to view them.
    blind = [] if permission.startswith("change_") else [client(permission, view=False)]
    for browser in (forbidden, *blind):
        assert press(browser, row, verb, **fields).status_code == 403
        act(browser, url, action, [row], **fields)
    assert f'value="{action}"' not in forbidden.get(url).content.decode()
    assert f"/act/{verb}/" not in forbidden.get(f"{url}{row.pk}/change/").content.decode()

    browser = client(permission)
    assert f'value="{action}"' in browser.get(url).content.decode()
    assert f"/act/{verb}/" in browser.get(f"{url}{row.pk}/change/").content.decode()
    assert press(browser, row, verb, answered=False).status_code == 200
    assert act(browser, url, action, [row], answered=False).status_code == 200
    assert browser.get(f"{url}{row.pk}/act/{verb}/").status_code == 405
    assert state() == before
    assert logged() == []

    assert press(browser, row, verb, **fields).status_code == 302
    assert state() != before
    [entry] = logged()
    assert json.loads(entry.change_message)["verb"] == verb


def test_a_job_gets_another_priority_and_time():
    row = known()
    browser = client("change_queuedjob")
    fields = {"priority": "-3", "due": "in 2h"}
    assert said(press(browser, row, "change", **fields)) == ["Changed 1 job."]
    row.refresh_from_db()
    assert (row.priority, row.line) == (-3, None)
    assert abs(row.available_at - timezone.now() - timedelta(hours=2)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("verb", "fields", "error"),
    [
        ("change", {}, "Give a priority, a time, or both."),
        ("change", {"priority": "1000"}, "less than or equal to 100"),
        ("change", {"due": "soon"}, "is not a duration"),
        ("move", {}, "Name a queue, a connection, or both."),
        ("move", {"connection": "nowhere"}, "not one of the available choices"),
    ],
)
def test_an_answer_that_cannot_be_used_is_asked_for_again(verb, fields, error):
    row = known()
    before = state()
    page = press(client("change_queuedjob"), row, verb, **fields)
    assert page.status_code == 200
    assert error in page.content.decode()
    assert state() == before


def test_jobs_move_to_another_queue_but_for_those_that_run():
    rows = [known(), running()]
    response = act(client("change_queuedjob"), JOBS, "move_jobs", rows, queue="slow")
    moved, left = said(response)
    assert moved == "Moved 1 job."
    assert left.startswith("1 job was not moved: worker web-1:4211 started it")
    assert left.endswith("A job that runs can only be stopped.")
    assert QueuedJob.objects.get(pk=rows[0].pk).queue == "slow"


def test_a_bad_queue_name_moves_nothing_and_says_why():
    row = known()
    [left] = said(press(client("change_queuedjob"), row, "move", queue="no good"))
    assert left.startswith("1 job was not moved:")
    assert QueuedJob.objects.get(pk=row.pk).queue == row.queue


def test_a_copy_has_an_id_of_its_own():
    row = known(queue="mail")
    assert said(press(client("add_queuedjob"), row, "copy")) == ["Dispatched a copy of 1 job."]
    copy = QueuedJob.objects.exclude(pk=row.pk).get()
    assert (copy.name, copy.queue) == (row.name, "mail")
    assert copy.uuid != row.uuid


def test_a_job_that_no_code_knows_is_not_copied():
    [left] = said(press(client("add_queuedjob"), waiting("shop.Gone"), "copy"))
    assert left.startswith("1 job was not copied:")
    assert "shop.Gone" in left


def test_a_copy_of_a_failed_job_leaves_its_record():
    row = known_failure()
    press(client("add_queuedjob"), row, "copy")
    assert FailedJob.objects.filter(pk=row.pk).exists()
    assert QueuedJob.objects.get().name == "app.record"


def test_a_stop_that_no_worker_has_followed_yet_is_said_and_logged():
    row = running()
    [left] = said(press(client("stop_job"), row, "stop"))
    assert left == (
        "1 job was not stopped: its worker has not stopped it yet; the request stays in force for"
        " an hour."
    )
    assert controls.stops_left([str(row.uuid)]) == {str(row.uuid)}
    [entry] = logged()
    assert entry.user.username in Control.objects.get().by


def test_a_stopped_job_is_told_of(monkeypatch):
    row = running()
    asked = controls.request_stop

    def stopped_at_once(id, by=""):
        is_new = asked(id, by)
        controls.forget_stops([id])
        return is_new

    monkeypatch.setattr(controls, "request_stop", stopped_at_once)
    assert said(press(client("stop_job"), row, "stop")) == ["Stopped 1 job."]


def test_a_job_that_does_not_run_is_not_stopped():
    [left] = said(act(client("stop_job"), JOBS, "stop_jobs", [waiting()]))
    assert left.startswith("1 job was not stopped: it is not running (now: Waiting).")
    assert not Control.objects.exists()


def test_retries_are_spread_over_time_across_slices(monkeypatch):
    from djqueue.admin import operator

    monkeypatch.setattr(operator, "SLICE", 2)
    rows = [known_failure() for _ in range(5)]
    act(client("retry_failedjob"), FAILED, "spread_jobs", rows, pace="1/m")
    due = [job.available_at for job in QueuedJob.objects.order_by("available_at")]
    assert [round((each - due[0]).total_seconds() / 60) for each in due] == [0, 1, 2, 3, 4]


@override_settings(DJQUEUE={"CONNECTIONS": {"database": {"DRIVER": "database"}}})
def test_what_exists_no_more_is_told_apart():
    gone = waiting(uuid=uuid.uuid4())
    QueuedJob.objects.all().delete()
    for action, fields in (("change_jobs", {"priority": "1"}), ("copy_jobs", {})):
        browser = client("change_queuedjob", "add_queuedjob")
        [left] = said(act(browser, JOBS, action, [gone], **fields))
        assert "it had already finished or been deleted" in left


def test_no_further_copy_is_tried_of_a_store_that_does_not_answer(monkeypatch):
    rows = [known_failure() for _ in range(3)]
    asked = []

    def away(found):
        asked.append(found.id)
        if len(asked) == 2:
            raise QueueUnavailable("It does not answer.")
        return copied(found)

    copied = running_verbs.copy
    monkeypatch.setattr(running_verbs, "copy", away)
    answers = said(act(client("add_queuedjob"), FAILED, "copy_jobs", rows))
    assert answers == [
        "Dispatched a copy of 1 job.",
        "2 jobs were not copied: It does not answer.",
    ]
    assert len(asked) == 2
