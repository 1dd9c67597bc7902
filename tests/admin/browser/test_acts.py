"""What operators do on the screens, in a real browser: wide and light, narrow and dark."""

from __future__ import annotations

import pytest

from djqueue.admin.bulk import bulk
from djqueue.models import FailedJob, QueuedJob
from djqueue.payload import payload
from tests.admin.browser.driving import MARKS, NARROW_DARK, WIDE, expect
from tests.admin.browser.measures import CONTRAST
from tests.admin.support import (
    FAILED,
    JOBS,
    OVERVIEW,
    delayed,
    exists,
    failed,
    logged,
    reserve,
    running,
    stuck,
    text_of,
    waiting,
)
from tests.app import jobs
from tests.support import start_worker, wait_until

pytestmark = MARKS

# Each width and each scheme once, for pages that differ little from those that are seen on all.
TWO = pytest.mark.parametrize("operator", [WIDE, NARROW_DARK], ids=str, indirect=True)


def known_failure(**columns):
    """A failed job that the code knows."""
    return failed("app.record", payload=text_of("app.record", {"number": 7}), **columns)


@TWO
def test_a_stuck_job_is_found_and_deleted(operator):
    """UI-01."""
    row, _other, _later = stuck(), waiting(), delayed()
    operator.page.goto(JOBS)
    operator.follow(operator.page.get_by_role("link", name="Stuck", exact=True))
    shown = operator.page.query_selector_all("input[name=_selected_action]")
    assert [box.get_attribute("value") for box in shown] == [str(row.pk)]
    operator.choose("delete_jobs", row)
    operator.confirm("Delete")
    assert operator.messages() == ["Deleted 1 job."]
    operator.look("deleted")
    assert not exists(row)
    assert len(logged()) == 1


@TWO
def test_a_job_taken_after_the_page_was_made_is_spared(operator):
    """UI-02."""
    row = waiting()
    operator.page.goto(JOBS)
    reserve(row)
    operator.choose("delete_jobs", row)
    operator.confirm("Delete")
    [told] = operator.messages()
    assert "worker web-1:4211 started it" in told
    operator.look("spared")
    assert exists(row)


@TWO
def test_a_running_job_is_deleted_after_a_question(operator):
    row = running()
    operator.page.goto(f"{JOBS}{row.pk}/change/")
    button = operator.page.get_by_role("button", name="Delete even though running")
    operator.follow(button)
    operator.look("question")
    assert exists(row)
    operator.follow(operator.page.get_by_role("link", name="No, take me back"))
    operator.follow(button)
    operator.follow(button)
    assert "goes on" in operator.messages()[0]
    assert not exists(row)


def test_a_running_job_that_was_deleted_does_not_come_back(operator, ledger):
    """UI-03: a worker runs a job that fails in the end; no row of it is left anywhere."""
    jobs.ends_as_told.dispatch("raise", 2.0)
    with start_worker("--once") as worker:
        wait_until(lambda: ledger.lines("begin"))
        row = QueuedJob.objects.get()
        operator.page.goto(f"{JOBS}{row.pk}/change/")
        button = operator.page.get_by_role("button", name="Delete even though running")
        operator.follow(button)
        operator.follow(button)
        assert operator.messages()[0].startswith("Deleted 1 running job.")
        worker.wait()
        assert "app.ends_as_told" in worker.output
    assert not QueuedJob.objects.exists()
    assert not FailedJob.objects.exists()


def test_of_two_operators_who_retry_one_does(sits):
    """UI-04: both have the page open; the second is told."""
    row = known_failure()
    anna, bert = sits(), sits()
    for each, name in ((anna, "anna"), (bert, "bert")):
        each.log_in(name)
        each.page.goto(f"{FAILED}{row.pk}/change/")
    for each in (anna, bert):
        each.follow(each.page.get_by_role("button", name="Retry", exact=True))
    assert anna.messages()[0].startswith("Retried 1 job.")
    [told] = bert.messages()
    assert told.startswith("1 job was not retried: ")
    assert "retried" in told.partition(": ")[2]
    assert QueuedJob.objects.count() == 1


def test_everything_that_matches_is_done_without_scripts(sits, monkeypatch):
    """UI-07: “Continue” leads to the end."""
    monkeypatch.setattr(bulk, "SLICE", 2)
    monkeypatch.setattr(bulk, "STEP", 0.0)
    for _ in range(7):
        known_failure()
    other = failed("shop.Other")
    operator = sits(java_script_enabled=False)
    operator.log_in()
    operator.page.goto(f"{FAILED}?q=job:record")
    operator.follow(operator.page.get_by_role("button", name="Forget: all 7 that match…"))
    operator.confirm("Forget")
    steps = 0
    while FailedJob.objects.count() > 1:
        operator.confirm("Continue")
        steps += 1
    assert steps == 3  # the answer to the question was the first
    assert operator.messages() == ["Forgot 7 failed jobs."]
    assert exists(other)


def test_everything_that_matches_goes_on_by_itself(operator, monkeypatch):
    """UI-06, the part of the browser: steps follow each other until the end."""
    monkeypatch.setattr(bulk, "SLICE", 2)
    monkeypatch.setattr(bulk, "STEP", 0.0)
    for _ in range(7):
        known_failure()
    operator.page.goto(FAILED)
    operator.follow(operator.page.get_by_role("button", name="Forget: all 7…"))
    operator.confirm("Forget")
    expect(operator.page.locator(".messagelist")).to_have_text("Forgot 7 failed jobs.")
    assert not FailedJob.objects.exists()
    operator.look("bulk")


def test_a_group_is_retried_from_the_overview(operator):
    """UI-19: three exceptions of fifty rows are three groups; one is retried, after a question."""
    for error in "abc":
        for _ in range(50):
            known_failure(exception_class=f"shop.{error.upper()}Error", fingerprint=error * 32)
    operator.page.goto(OVERVIEW)
    assert operator.page.get_by_role("button", name="Retry 50…").count() == 3
    row = operator.page.get_by_role("row", name="BError")
    operator.follow(row.get_by_role("button"))
    operator.confirm("Retry")
    assert QueuedJob.objects.count() == 50
    assert set(FailedJob.objects.values_list("fingerprint", flat=True)) == {"a" * 32, "c" * 32}


def test_a_stuck_job_is_deleted_with_the_keyboard_alone(operator):
    """UI-21: Tab, Space, Enter and the letters of a menu."""
    row, other = stuck(), waiting()
    operator.page.goto(f"{JOBS}?state=stuck")
    keys = operator.page.keyboard

    def tab_to(selector):
        for _ in range(80):
            keys.press("Tab")
            if operator.page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    tab_to("select[name=action]")
    keys.type("Delete selected jobs")
    tab_to(f"input[name=_selected_action][value='{row.pk}']")
    keys.press("Space")
    operator.page.locator("select[name=action]").focus()
    tab_to("button[name=index]")
    with operator.page.expect_navigation():
        keys.press("Enter")
    tab_to(".djq-buttons button")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert operator.page.evaluate(outline) != "none"  # one sees where the focus is
    with operator.page.expect_navigation():
        keys.press("Enter")
    assert operator.messages() == ["Deleted 1 job."]
    assert not exists(row)
    assert exists(other)


@TWO
def test_a_failed_job_is_retried_with_the_keyboard_alone(operator):
    row = failed()
    operator.page.goto(f"{FAILED}{row.pk}/change/")
    operator.page.get_by_role("button", name="Retry", exact=True).focus()
    operator.page.keyboard.press("Enter")
    operator.page.wait_for_url(f"**{FAILED}")
    assert operator.messages()[0].startswith("Retried 1 job.")
    assert not exists(row)


@TWO
def test_an_argument_is_corrected_and_the_job_retried(operator):
    """UI-18: a value that does not fit is told at its field; the new job has the right one."""
    arguments = {"order_id": 42, "urgent": True}
    row = failed("app.label", payload=text_of("app.label", arguments))
    operator.page.goto(f"{FAILED}{row.pk}/change/")
    operator.follow(operator.page.get_by_role("link", name="Edit and retry…"))
    operator.look("edit")
    field = operator.page.get_by_label("order_id")
    assert field.input_value() == "42"
    field.fill("")
    operator.confirm("Show what changes")
    assert "This field is required." in operator.page.inner_text(".djq-wrong")
    operator.look("edit-wrong")
    operator.page.get_by_label("order_id").fill("43")
    operator.confirm("Show what changes")
    assert operator.page.inner_text(".djq-changes del") == "42"
    assert operator.page.inner_text(".djq-changes ins") == "43"
    operator.look("edit-changes")
    for selector in (".djq-changes del", ".djq-changes ins"):
        assert operator.page.evaluate(CONTRAST, selector) >= 4.5
    operator.confirm("Retry with these changes")
    assert operator.messages()[0].startswith("Retried 1 job.")
    [job] = QueuedJob.objects.all()
    assert payload.decode(job.payload).arguments == {"order_id": 43, "urgent": True}
    assert not exists(row)
