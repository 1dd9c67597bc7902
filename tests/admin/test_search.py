"""The search box: its words, what they find in every list, and what they refuse."""

from __future__ import annotations

import json
import uuid

import pytest

from djqueue.admin.lists import search
from djqueue.admin.lists.terms import OF_JOBS, Search
from djqueue.drivers.base import State, StoredJob
from djqueue.models import FailedJob, QueuedJob
from tests.admin.support import FAILED, JOBS, client, failed, text_of, waiting

pytestmark = pytest.mark.django_db

BATCH = "01a213e8-0000-7000-8000-00000000beef"
MODEL = {"$": "model", "m": "auth.User", "k": 7, "db": "default"}
ARGUMENTS = {
    "order": 42,
    "note": "a, b",
    "when": {"$": "date", "v": "2026-02-03"},
    "user": MODEL,
    "flag": True,
    "password": "hunter2",
    "deep": {"order": 99},
}


def tagged(text, *tags):
    written = json.dumps(tags, separators=(",", ":"))
    return text.replace(',"arguments"', f',"tags":{written},"arguments"')


def wanted():
    """The payload that is looked for, and two that are not."""
    text = tagged(text_of("shop.Wanted", ARGUMENTS, tries=3), "customer:7", "eu")
    links = f',"links":{{"batch":"{BATCH}"}},"tags"'
    return text.replace(',"tags"', links, 1)


def others():
    yield tagged(text_of("shop.Other", {"order": 421, "user": {**MODEL, "k": 70}}), "customer:70")
    yield text_of("shop.Other", {"customer": "eu", "note": "order"})


FOUND = [
    "arg:order=42",
    "arg:note='a, b'",
    "arg:when=2026-02-03",
    "arg:user=7",
    "arg:flag=true",
    "tag:customer:7",
    "tag:eu",
    "tag:eu arg:order=42 job:Wanted",
    f"batch:{BATCH}",
    "batch:beef",
]
NOT_FOUND = ["arg:order=4", "arg:order=x", "arg:tries=3", "tag:customer", "tag:eu arg:order=421"]


def names(url, text, *permissions):
    page = client("view_payload", *permissions).get(url, {"q": text})
    return {row.name for row in page.context["cl"].result_list}


@pytest.fixture(params=[JOBS, FAILED])
def listed(request):
    make = waiting if request.param == JOBS else failed
    make("shop.Wanted", payload=wanted(), batch_id=BATCH)
    for text in others():
        make("shop.Other", payload=text)
    return request.param


def test_arguments_tags_and_batches_are_found(listed):
    for text in FOUND:
        assert names(listed, text) == {"shop.Wanted"}, text
    for text in NOT_FOUND:
        assert names(listed, text) == set(), text


@pytest.mark.anywhere
@pytest.mark.parametrize("text", [*FOUND, *NOT_FOUND])
def test_the_words_mean_the_same_where_jobs_are_in_no_table(text):
    read = Search.read(text, OF_JOBS, values=True)
    rest = (State.WAITING, 0, 0, 0, None, None, None, None, None)
    jobs = [("shop.Wanted", wanted()), *(("shop.Other", each) for each in others())]
    found = [
        name
        for name, payload in jobs
        if search.Wanted(read).fits(StoredJob(str(uuid.uuid4()), "default", name, payload, *rest))
    ]
    assert found == (["shop.Wanted"] if text in FOUND else [])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("jobs:shop.Wanted", "There is no search word jobs: here."),
        ("arg:order", "arg: takes a name and a value, as in arg:order=42."),
        ("arg:password=hunter2", "arg:password is not searched: its values are hidden."),
        ("x" * 201, "A search has at most 200 characters."),
    ],
)
def test_a_word_that_cannot_be_used_is_said(listed, text, error):
    page = client("view_payload").get(listed, {"q": text})
    assert error in page.content.decode()
    assert not page.context["cl"].result_count


def test_a_word_of_another_list_is_said():
    waiting()
    assert (
        "There is no search word exc: here."
        in client().get(JOBS, {"q": "exc:ValueError"}).content.decode()
    )


@pytest.mark.parametrize("text", ["arg:order=42", "tag:eu"])
def test_values_are_not_searched_for_those_who_may_not_see_them(listed, text):
    page = client().get(listed, {"q": text})
    assert "values that your account may not see" in page.content.decode()
    assert not page.context["cl"].result_count


def test_what_looks_like_a_word_can_be_a_text(listed):
    failed(exception_message="see https://example.org/x and Error: y")
    for text in ("https://example.org", "Error:"):
        assert names(FAILED, text, "view_exception") == {"shop.SendReceipt"}


def test_payloads_are_read_in_the_newest_rows_only(listed, monkeypatch):
    monkeypatch.setattr(search, "NEWEST", 2)
    page = client("view_payload").get(listed, {"q": "arg:order=42"})
    assert "looked at the newest 2 rows only" in page.content.decode()
    assert not page.context["cl"].result_count
    assert names(listed, "arg:order=42 job:Wanted") == {"shop.Wanted"}


def test_texts_are_read_in_the_newest_rows_only(listed, monkeypatch):
    monkeypatch.setattr(search, "READ", 2)
    page = client("view_payload").get(listed, {"q": "Wanted"})
    assert "looked at the newest 2 rows only" in page.content.decode()
    assert names(listed, "Wanted") == set()
    assert names(listed, "Other") == {"shop.Other"}


def test_an_id_is_found_however_old_it_is(listed, monkeypatch):
    monkeypatch.setattr(search, "READ", 0)
    model = QueuedJob if listed == JOBS else FailedJob
    row = model.objects.get(name="shop.Wanted")
    for text in (str(row.uuid)[-8:], str(row.uuid)[:9], f"id:{str(row.uuid)[-6:]}", str(row.pk)):
        assert names(listed, text) == {"shop.Wanted"}, text


def test_jobs_and_exceptions_of_failed_jobs_are_found_however_old_they_are(monkeypatch):
    monkeypatch.setattr(search, "READ", 0)
    failed("shop.Wanted", exception_class="shop.Torn")
    failed("shop.Other", exception_class="shop.Lost")
    for text in ("job:Wanted", "job:shop.W*", "exc:Torn", "exc:shop.T*n job:wanted"):
        assert names(FAILED, text) == {"shop.Wanted"}, text
    monkeypatch.setattr(search, "MOST_NAMES", 1)  # too many of them: their rows are read
    assert names(FAILED, "job:Wanted") == set()


@pytest.mark.parametrize("text", ["arg:order=42", "Wanted"])
def test_more_than_a_few_are_not_asked_for_by_number(listed, monkeypatch, text):
    monkeypatch.setattr(search, "FEW", 0)
    assert names(listed, text) == {"shop.Wanted"}


def test_a_search_that_is_refused_is_no_act_on_everything():
    row = waiting()
    browser = client("delete_queuedjob", "bulk_operations")
    browser.post(f"{JOBS}all/delete/?q=jobs:x", {"confirmed": "yes"})
    row.refresh_from_db()
