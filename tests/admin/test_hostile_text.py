"""Whatever is stored, a page can be read, and tells nothing that it should not."""

from __future__ import annotations

import json
import os
import uuid
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from hypothesis import HealthCheck, given, settings

from djqueue.admin.contents import contents
from djqueue.models import FailedJob, QueuedJob, Worker
from djqueue.payload import history, payload
from tests.admin.support import FAILED, JOBS, WORKERS, act, client, failed, press, waiting
from tests.databases import vendor
from tests.test_masking import NAMES, PLACES, TEXTS, VALUE
from tests.test_text import HOSTILE, unfit

pytestmark = pytest.mark.django_db

EXAMPLES = int(os.environ.get("DJQUEUE_TEST_EXAMPLES") or (15 if vendor() == "sqlite" else 5))
"""What pages show does not depend on the vendor; what a column takes does."""
ALL = ("view_payload", "retry_failedjob", "delete_failedjob", "delete_queuedjob", "release_job")
STORED = HOSTILE.map(lambda text: text.replace("\0", "").encode("utf-8", "ignore").decode())
"""What a text column takes. A payload's JSON has the rest as escapes."""
HTML = "\n\t\r"


def hostile_payload(text: str) -> str:
    arguments = {text: text, "nested": [{text: [text]}], "m": {"$": "model", "m": text, "k": text}}
    head = payload.encode_head(text, payload.Limits(tries=3))
    return payload.encode(
        head, str(uuid.uuid4()), 1.0, arguments, payload.encode_more(tags=(text,))
    )


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=HOSTILE, stored=STORED)
def test_any_text_in_any_column_can_be_looked_at(text, stored):
    browser = client(*ALL)
    past = history.add(history.read(""), history.Entry(1, "raised", text, text))
    columns: dict[str, Any] = {"queue": stored[:80], "name": stored[:255], "history": past}
    job = waiting(payload=hostile_payload(text), **columns)
    row = failed(
        payload=hostile_payload(text),
        exception=stored,
        exception_class=stored[:255],
        exception_message=stored[:1000],
        connection=stored[:255],
        **columns,
    )
    pages = [
        browser.get(url)
        for url in (JOBS, FAILED, f"{JOBS}{job.pk}/change/", f"{FAILED}{row.pk}/change/")
    ]
    pages.append(press(browser, row, "forget", answered=False))
    pages.append(act(browser, JOBS, "delete_jobs", [job], answered=False))
    pages.append(act(browser, FAILED, "retry_jobs", [row], follow=True))
    pages.append(press(browser, job, "delete"))
    pages.append(browser.get("/admin/"))
    for page in pages:
        assert page.status_code in (200, 302)
        assert not unfit(page.content.decode(), HTML)
    QueuedJob.objects.all().delete()
    FailedJob.objects.all().delete()
    LogEntry.objects.all().delete()


def test_a_lone_surrogate_is_spelled_out():
    row = waiting(payload=text_with({"file": "caf\udce9.txt"}))
    assert (
        r"caf\udce9.txt" in client("view_payload").get(f"{JOBS}{row.pk}/change/").content.decode()
    )


def text_with(arguments: dict[str, Any]) -> str:
    return payload.encode(payload.encode_head("a.B", payload.Limits()), "x", 1.0, arguments)


@pytest.mark.parametrize("depth", [60, 450, 600, 950, 1900, 9000])
def test_arguments_of_any_depth_can_be_looked_at(depth):
    text = text_with({"x": 1}).replace('"x":1', f'"x":{"[" * depth}{"]" * depth}')
    row = waiting(payload=text)
    assert client("view_payload").get(f"{JOBS}{row.pk}/change/").status_code == 200


def test_what_is_too_long_is_not_even_read():
    row = waiting(payload=text_with({"x": ["y" * 10] * 200_000}))
    page = client("view_payload").get(f"{JOBS}{row.pk}/change/").content.decode()
    assert "longer than 1,048,576 characters" in page
    assert len(page) < 50_000


def test_at_most_two_hundred_arguments_and_tags_are_shown():
    shown = contents(text_with({f"n{each}": each for each in range(1000)}), "admin", visible=True)
    assert (len(shown.arguments), shown.more) == (200, 800)
    row = waiting(payload=text_with({f"n{each}": each for each in range(1000)}))
    assert "800 more arguments" in client().get(f"{JOBS}{row.pk}/change/").content.decode()


@pytest.mark.anywhere
@pytest.mark.parametrize("place", PLACES)
def test_no_secret_among_the_arguments_is_readable(place):
    """UI-12: on the page of a job."""
    values = {f"{at}": PLACES[place](name) for at, name in enumerate(NAMES)}
    direct = {key: value for name in NAMES for key, value in PLACES[place](name).items()}
    for arguments in (values, direct):
        row = waiting(payload=text_with(arguments))
        page = client("view_payload").get(f"{JOBS}{row.pk}/change/").content.decode()
        assert VALUE not in page


@pytest.mark.anywhere
def test_no_secret_of_an_exception_is_readable():
    told = [text.format(name=name, value=VALUE) for text in TEXTS.values() for name in NAMES]
    browser = client(*ALL)
    for start in range(0, len(told), 20):
        some = told[start : start + 20]
        past = ""
        for text in some:
            past = history.add(history.read(past), history.Entry(1, "raised", "E", text))
        row = failed(exception="\n".join(some), exception_message=some[0], history=past)
        for page in (
            browser.get(f"{FAILED}{row.pk}/change/"),
            press(browser, row, "forget", answered=False),
        ):
            assert VALUE not in page.content.decode()
        if start % 200 == 0:
            assert VALUE not in browser.get(FAILED).content.decode()


def test_a_message_and_a_traceback_need_their_permission():
    past = history.add(history.read(""), history.Entry(1, "raised", "E", "told nobody"))
    row = failed(exception="told nobody", exception_message="told nobody", history=past)
    viewer = client(view=False)
    from django.contrib.auth.models import Permission, User

    user = User.objects.get()
    codes = ["view_failedjob", "retry_failedjob", "delete_failedjob"]
    user.user_permissions.set(Permission.objects.filter(codename__in=codes))
    for page in (
        viewer.get(FAILED),
        viewer.get(f"{FAILED}{row.pk}/change/"),
        press(viewer, row, "forget", answered=False),
    ):
        assert "told nobody" not in page.content.decode()
        assert "OutOfStock" in page.content.decode()


def test_workers_with_strange_names_can_be_looked_at():
    name = "\x1b[31m\u202e\x9b"
    row = Worker.objects.create(
        name=name,
        hostname=name,
        pid=1,
        connection=name,
        queues=name,
        started_at="2026-01-01T00:00:00Z",
        alive_until="2026-01-01T00:00:00Z",
    )
    for url in (WORKERS, f"{WORKERS}{row.pk}/change/"):
        page = client().get(url).content.decode()
        assert not unfit(page, HTML)
        assert r"\x1b[31m\u202e\x9b" in page


def test_json_in_the_payload_is_still_json():
    row = waiting(payload=text_with({"note": "x"}))
    page = client("view_payload").get(f"{JOBS}{row.pk}/change/").content.decode()
    assert "&quot;note&quot;: &quot;x&quot;" in page
    assert json.loads(row.payload)["arguments"] == {"note": "x"}
