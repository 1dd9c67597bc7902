"""The page of one row: what it shows, what it hides, and what it escapes."""

from __future__ import annotations

import json
import re
import uuid
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.template import Context, Template
from django.test import RequestFactory, override_settings
from django.utils import translation

from djqueue.models import JobBatch, Key, QueuedJob, Worker
from djqueue.payload import history, payload
from djqueue.payload.packing import pack
from tests.admin.support import (
    BATCHES,
    FAILED,
    JOBS,
    RESULTS,
    WORKERS,
    client,
    failed,
    reserve,
    result,
    running,
    stuck,
    text_of,
    waiting,
    worker,
)
from tests.app import jobs
from tests.app.unique import once

pytestmark = pytest.mark.django_db

CANARY = "<script>alert('x')</script><img src=x onerror=alert(1)>"
SECRET = "hunter2-canary"
ARGUMENTS: dict[str, Any] = {
    "copies": 2,
    "note": "two\nlines",
    "when": {"$": "date", "v": "2026-02-03"},
    "password": SECRET,
    "login": {"API_Token": SECRET, "deep": [{"client_secret": SECRET, "user": "anna"}]},
    "pairs": {"$": "dict", "v": [["Authorization", SECRET], [3, "three"]]},
    "card_number": {"$": "str", "v": SECRET},
    "nothing": None,
}


def _page(row: Any, *permissions: str) -> str:
    url = {"queuedjob": JOBS, "failedjob": FAILED, "worker": WORKERS, "jobbatch": BATCHES}
    url |= {"jobresult": RESULTS}
    response = client(*permissions).get(f"{url[row._meta.model_name]}{row.pk}/change/")
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("make", [waiting, failed])
def test_arguments_are_shown_to_those_who_may_see_them(make):
    row = make(payload=text_of("shop.SendReceipt", ARGUMENTS, tries=3, backoff=(10.0, 60.0)))
    page = _page(row, "view_payload")
    for text in ("copies", "2026-02-03", "two\nlines", "anna", "three", "tries", "Stored payload"):
        assert text in page
    assert SECRET not in page


@pytest.mark.parametrize("make", [waiting, failed])
def test_without_the_permission_only_names_are_shown(make):
    row = make(payload=text_of("shop.SendReceipt", ARGUMENTS))
    page = _page(row)
    assert "copies" in page
    assert "Values are hidden" in page
    for text in ("2026-02-03", "anna", "Stored payload", SECRET):
        assert text not in page


@pytest.mark.parametrize("make", [waiting, failed])
def test_a_display_name_is_shown_to_those_who_may_see_values(make):
    head = payload.encode_head("shop.SendReceipt", payload.Limits())
    more = payload.encode_more(display_name="Receipt <7> password=hunter2-canary")
    row = make(payload=payload.encode(head, str(uuid.uuid4()), 1.5, {}, more))
    page = _page(row, "view_payload")
    assert "Display name" in page
    assert "Receipt &lt;7&gt;" in page
    assert SECRET not in page
    assert "Receipt" not in _page(row).replace("shop.SendReceipt", "")


def test_the_unique_key_of_a_job_is_shown_and_whether_it_has_it():
    dispatched = once.dispatch(7)
    row = QueuedJob.objects.get(uuid=dispatched.id)
    assert "held by this job" in _page(row, "view_payload")
    assert "Unique key" not in _page(row)
    Key.objects.all().delete()
    assert "not held any more" in _page(row, "view_payload")


def test_a_model_argument_links_to_its_page_where_it_has_one():
    user = User.objects.create_user("bob")
    reference = {"$": "model", "m": "auth.User", "k": user.pk, "db": "default"}
    elsewhere = {"$": "model", "m": "app.Note", "k": 1, "db": "default"}
    row = waiting(payload=text_of("shop.A", {"user": reference, "note": elsewhere}))
    from django.contrib import admin

    page = _page(row, "view_payload")
    if admin.site.is_registered(User):
        assert f"/admin/auth/user/{user.pk}/change/" in page
    assert "app.Note 1" in page


@pytest.mark.parametrize("text", ["", "garbage", "[]", '{"v":99,"name":"x","options":{},"id":"1"}'])
def test_a_damaged_payload_is_shown_as_damaged(text):
    assert "payload" in _page(waiting(payload=text), "view_payload").lower()


@pytest.mark.parametrize("hidden", [{"key": SECRET}, SECRET])
def test_of_the_context_only_what_is_not_hidden_is_shown(hidden):
    text = text_of("shop.A", {})
    data = {**json.loads(text), "context": {"hidden": hidden, "token": SECRET, "user_id": "u-177"}}
    row = waiting(payload=json.dumps(data))
    page = _page(row, "view_payload")
    assert "u-177" in page
    assert SECRET not in page
    assert "u-177" not in _page(row)


def test_a_long_value_is_cut():
    row = waiting(payload=text_of("shop.A", {"rows": "x" * 200_000}))
    page = _page(row, "view_payload")
    assert len(page) < 200_000
    assert "more characters are not shown" in page


def test_packed_arguments_are_shown_like_others():
    packed = pack(text_of("shop.A", {"note": "n" * 500, "password": SECRET}), 100, None).text
    assert "n" * 500 not in packed
    row = waiting(payload=packed)
    page = _page(row, "view_payload")
    assert "n" * 500 in page
    assert "zlib" not in page
    assert SECRET not in page
    assert "n" * 500 not in _page(row)
    assert "password" in _page(row)


def test_arguments_that_are_not_where_the_payload_says_are_told_of():
    row = waiting(payload=pack(text_of("shop.A", {"note": "n" * 500}), None, 1).text)
    assert "no longer in the payload store" in _page(row, "view_payload")


def test_attempts_and_traceback():
    text = history.add(
        history.read(""), history.Entry(1, "raised", "shop.errors.OutOfStock", "none left")
    )
    text = history.add(
        history.read(text), history.Entry(2, "timed out", "djqueue.errors.TimeoutExceeded", "60 s")
    )
    page = _page(failed(history=text))
    assert "no such order" in page
    assert "Attempt 1" in page
    assert "Timed out" in page
    assert "none left" in page
    assert "Attempt 1" in _page(waiting(history=text))


def test_a_damaged_history_is_no_history():
    for text in ("x", "[]", '{"attempts": [1, {"attempt": "a", "at": 5}]}'):
        _page(waiting(history=text))


def test_a_stuck_job_is_explained():
    page = _page(stuck())
    assert "no sign of life" in page
    assert "gone-1:99" in page


def test_what_is_stored_is_escaped_everywhere():
    columns = {"name": CANARY, "queue": CANARY[:80], "payload": text_of(CANARY, {CANARY: CANARY})}
    text = history.add(history.read(""), history.Entry(1, CANARY, CANARY, CANARY))
    holder = worker(CANARY)
    job = reserve(waiting(**columns, history=text, batch_id=CANARY[:36]), holder)
    broken = failed(
        **columns,
        history=text,
        connection=CANARY,
        exception=CANARY,
        exception_class=CANARY,
        exception_message=CANARY,
    )
    batch = JobBatch.objects.create(id=CANARY[:36], name=CANARY, created_at="2026-01-01T00:00:00Z")
    everything = ("view_payload", "delete_queuedjob", "force_delete_job", "retry_failedjob")
    pages = [_page(row, *everything) for row in (job, broken, holder)]
    browser = client(*everything)
    pages += [browser.get(url).content.decode() for url in (JOBS, FAILED, WORKERS, BATCHES)]
    pages.append(browser.get(JOBS, {"queue": CANARY, "q": CANARY}).content.decode())
    form = {"seen": f"{job.pk}:1"}
    pages.append(browser.post(f"{JOBS}{job.pk}/act/force_delete/", form).content.decode())
    pages.append(browser.post(f"{JOBS}{job.pk}/act/delete/", form, follow=True).content.decode())
    assert batch.pk
    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x" not in page


def test_nothing_is_inline():
    running()
    browser = client("view_payload", "delete_queuedjob", "force_delete_job")
    for url in (JOBS, FAILED, WORKERS, BATCHES):
        page = browser.get(url).content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)", page)
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page)


def test_workers_are_alive_or_lost_idle_or_busy():
    busy, lost = worker("web-1:1"), worker("web-2:2", lost=True)
    worker("web-3:3")
    reserve(waiting(), busy)
    reserve(waiting(), lost)
    page = client().get(WORKERS).content.decode()
    for text in ("Alive", "Busy · 1 job", "Idle", "Lost · lease expired 3 h ago", "held 1 job"):
        assert text in page
    assert "high, default" in page
    assert "4211" in _page(busy)


def test_batches_show_how_far_they_are():
    batch = JobBatch.objects.create(
        id="b" * 36,
        name="Import",
        total_jobs=200,
        pending_jobs=20,
        failed_jobs=3,
        created_at="2026-01-01T00:00:00Z",
    )
    assert "180 of 200 (90 %), 3 failed" in client().get(BATCHES).content.decode()
    assert "In progress" in _page(batch)


@pytest.mark.parametrize("url", [JOBS, FAILED, WORKERS, BATCHES])
def test_every_list_is_empty_without_an_error(url):
    assert client().get(url).status_code == 200
    assert client().get(url, {"q": "x", "p": "2"}, follow=True).status_code == 200


def test_the_screens_are_in_the_app_list():
    page = client().get("/admin/").content.decode()
    for url in (JOBS, FAILED, WORKERS, BATCHES):
        assert f'href="{url}"' in page
    assert "/add/" not in page


def test_pages_work_in_another_language():
    running()
    with translation.override("de"):
        browser = client("delete_queuedjob")
        assert browser.get(JOBS, headers={"accept-language": "de"}).status_code == 200


def test_our_style_sheet_carries_the_nonce_of_a_policy():
    template = Template('{% load djqueue_admin %}{% djqueue_style "djqueue/admin.css" %}')
    assert 'nonce="abc"' in template.render(Context({"csp_nonce": "abc"}))
    request = RequestFactory().get("/")
    assert "nonce" not in template.render(Context({"request": request}))
    request.csp_nonce = "def"
    assert 'nonce="def"' in template.render(Context({"request": request}))


@override_settings(
    DJQUEUE={
        "CONNECTIONS": {
            "database": {"DRIVER": "database"},
            "redis": {"DRIVER": "redis", "URL": "redis://localhost:1/0"},
        }
    }
)
def test_what_a_worker_of_another_store_does_is_not_guessed():
    row = worker()
    Worker.objects.update(connection="redis")
    for url in (WORKERS, f"{WORKERS}{row.pk}/change/"):
        page = client().get(url).content.decode()
        assert "Alive" in page
        assert "Idle" not in page


class _Directions(HTMLParser):
    """What is code, an id or an error, with whether it is laid out from left to right."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        classes = {"djq-id", "djq-error", "djq-failure", "djq-pre"} & set(
            (given.get("class") or "").split()
        )
        inside = given.get("class") == "djq-error" and tag == "span" and "title" not in given
        if (tag in ("pre", "code") or classes) and not inside:
            self.found.append((" ".join([tag, *sorted(classes)]), given.get("dir")))


@override_settings(LANGUAGE_CODE="ar")
def test_code_ids_and_errors_run_from_left_to_right_in_every_language():
    queued = waiting(payload=text_of("shop.SendReceipt", ARGUMENTS, tries=3))
    lost = failed(payload=text_of("shop.SendReceipt", ARGUMENTS, tries=3))
    browser = client("view_payload")
    directions = _Directions()
    for url in (JOBS, FAILED, f"{JOBS}{queued.pk}/change/", f"{FAILED}{lost.pk}/change/"):
        page = browser.get(url).content.decode()
        assert 'dir="rtl"' in page
        directions.feed(page)
    kinds = {kind for kind, _ in directions.found}
    assert {"pre djq-pre", "code", "span djq-id", "p djq-failure", "span djq-error"} <= kinds
    assert {direction for _, direction in directions.found} == {"ltr"}, directions.found


def test_a_name_does_not_move_what_stands_beside_it():
    """One that is written from right to left would take the numbers next to it along."""
    name = "shop.\u05d3\u05d5\u05d0\u05e8"
    waiting(name=name)
    page = client().get(JOBS).content.decode()
    assert f"<bdi>{name}</bdi>" in page


def test_a_list_shows_the_end_of_an_id_which_tells_jobs_apart():
    """Its beginning is the time: jobs of the same minute have the same."""
    ids = [jobs.record.dispatch(number).id for number in range(3)]
    page = client().get(JOBS).content.decode()
    for id in ids:
        assert f'<span class="djq-id" dir="ltr">{id[-8:]}</span>' in page
        assert id[:8] + "<" not in page


def test_a_result_shows_what_its_reader_may_see():
    row = result(
        value=json.dumps({"rows": 3, "password": SECRET, "note": CANARY}),
        error=f"ValueError: password={SECRET} {CANARY}",
        message=CANARY[:40],
        done=1,
        total=3,
        owner="7",
    )
    page = _page(row)
    assert "1 / 3 (33 %)" in page
    assert "rows" not in page
    page = _page(row, "view_payload")
    assert "rows&quot;: 3" in page
    assert "ValueError" in page
    assert SECRET not in page
    assert CANARY not in page
    assert "Done" in client().get(RESULTS).content.decode()
