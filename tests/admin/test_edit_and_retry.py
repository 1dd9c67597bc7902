"""Retrying a failed job with other arguments: the form, what it changes, and who may do it."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.utils import timezone

from djqueue import Job
from djqueue.jobs import registry
from djqueue.models import FailedJob, QueuedJob
from djqueue.operations import retrying
from djqueue.payload import payload
from djqueue.payload.store import unpacked
from djqueue.testing import work
from tests.admin.support import FAILED, client, exists, failed, logged, press, said, text_of
from tests.app.editable import Invoice, Speed
from tests.app.jobs import boom
from tests.app.models import Note

pytestmark = pytest.mark.django_db

MAY = ("retry_failedjob", "view_payload", "edit_payload")
MOMENT = dt.datetime(2026, 5, 1, 12, 30, tzinfo=dt.timezone.utc)
PREFIX = "argument-"


def address(row: FailedJob) -> str:
    return f"{FAILED}{row.pk}/edit-and-retry/"


def label(order_id: int = 42, **more: Any) -> FailedJob:
    return failed("app.label", payload=text_of("app.label", {"order_id": order_id, **more}))


def invoice(**more: Any) -> FailedJob:
    note = Note.objects.create(text="x")
    values = {
        "note": note,
        "copies": 2,
        "ratio": 0.5,
        "price": Decimal("9.90"),
        "paid": True,
        "title": "First\nsecond",
        "day": dt.date(2026, 5, 1),
        "at": MOMENT,
        "clock": dt.time(12, 30),
        "every": dt.timedelta(minutes=5),
        "ref": uuid.UUID(int=7),
        "speed": Speed.SLOW,
        "kind": "pdf",
        "lines": [{"sku": "A", "password": "hunter2"}],
        "prices": [Decimal("1.10")],
        "remark": "as before",
        "api_token": "very-secret",
        **more,
    }
    job = Invoice(**values)
    return failed(
        "app.Invoice", payload=text_of("app.Invoice", registry.find(job._spec.name).encode(job))
    )


def on_page(html: str) -> dict[str, list[str]]:
    """What a browser would send of the form: the fields as the page has them."""
    found: dict[str, list[str]] = {}
    body = html[html.index('<form method="post" class="djq-form') :]
    for name, value in re.findall(r'<input [^>]*?name="([^"]+)"(?: value="([^"]*)")?', body):
        found.setdefault(name, []).append(unescape(value))
    for name, value in re.findall(
        r'<textarea name="([^"]+)"[^>]*>\n?(.*?)</textarea>', body, re.DOTALL
    ):
        found[name] = [unescape(value).replace("\n", "\r\n")]
    for name, options in re.findall(r'<select name="([^"]+)"[^>]*>(.*?)</select>', body, re.DOTALL):
        found[name] = re.findall(r'<option value="([^"]*)" selected', options)
    return found


def hidden(html: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', html):
        found.setdefault(name, []).append(unescape(value))
    return found


def edit(browser: Any, row: FailedJob, **values: Any) -> Any:
    """Fill in the form, and send it."""
    sent = on_page(browser.get(address(row)).content.decode())
    return browser.post(address(row), {**sent, **{PREFIX + name: v for name, v in values.items()}})


def confirm(browser: Any, row: FailedJob, second: Any) -> Any:
    return browser.post(address(row), {**hidden(second.content.decode()), "confirmed": "yes"})


def arguments() -> dict[str, Any]:
    [job] = QueuedJob.objects.all()
    return dict(unpacked(payload.decode(job.payload)).arguments)


def test_a_function_job_runs_with_what_was_corrected():
    row, browser = label(), client(*MAY)
    wrong = edit(browser, row, order_id="forty")
    assert "Enter a whole number." in wrong.content.decode()
    second = edit(browser, row, order_id="43")
    assert second.context["changes"] == [("order_id", "42", "43")]
    assert exists(row)
    told = confirm(browser, row, second)
    assert said(told)[0].startswith("Retried 1 job.")
    assert not exists(row)
    assert arguments() == {"order_id": 43}
    assert QueuedJob.objects.get().uuid == row.uuid


def test_every_kind_of_argument_is_changed():
    row, browser = invoice(), client(*MAY)
    other = Note.objects.create(text="y")
    changed = {
        "note": other.pk,
        "copies": "3",
        "ratio": "0.25",
        "price": "10.00",
        "paid": "1",
        "title": "Another\r\none",
        "day": "2026-06-02",
        "at": "2026-06-02T10:00:00+02:00",
        "clock": "08:15",
        "every": "1:00:00",
        "ref": str(uuid.UUID(int=8)),
        "speed": "1",
        "kind": "1",
        "prices": '["2.20"]',
        "remark_1": "on",
        "limit": "9",
        "options": '{"fast": true}',
    }
    second = edit(browser, row, **changed)
    assert second.context["form"].errors == {}
    shown = {name: (before, now) for name, before, now in second.context["changes"]}
    assert shown["day"] == ('"2026-05-01"', '"2026-06-02"')
    assert shown["note"] == (str(Note.objects.first().pk), str(other.pk))
    confirm(browser, row, second)
    job = registry.find("app.Invoice").load(arguments())
    assert (job.note, job.copies, job.ratio, job.price) == (other, 3, 0.25, Decimal("10.00"))
    assert (job.paid, job.title, job.day) == (False, "Another\none", dt.date(2026, 6, 2))
    assert job.at == dt.datetime(2026, 6, 2, 8, tzinfo=dt.timezone.utc)
    assert (job.clock, job.every) == (dt.time(8, 15), dt.timedelta(hours=1))
    assert (job.ref, job.speed, job.kind) == (uuid.UUID(int=8), Speed.FAST, "html")
    assert (job.prices, job.remark, job.limit) == ([Decimal("2.20")], None, 9)
    assert job.options == {"fast": True}
    assert (job.lines, job.api_token) == ([{"sku": "A", "password": "hunter2"}], "very-secret")


def test_what_is_not_touched_stays_exactly_as_it_was():
    row, browser = invoice(), client(*MAY)
    before = payload.decode(row.payload).arguments
    unchanged = edit(browser, row)
    assert "Nothing is different" in unchanged.content.decode()
    confirm(browser, row, edit(browser, row, copies="5"))
    assert arguments() == {**before, "copies": 5}


@pytest.mark.parametrize(
    ("name", "given", "error"),
    [
        ("copies", "", "This field is required."),
        ("copies", "2.5", "Enter a whole number."),
        ("ratio", "nan", "Enter a number."),
        ("price", "NaN", "Enter a number."),
        ("day", "2026-02-31", "Enter a valid date."),
        ("at", "tomorrow", "is not a valid datetime"),
        ("ref", "7", "Enter a valid UUID."),
        ("kind", "7", "Select a valid choice"),
        ("note", "999999", "There is no app.Note with the key 999999."),
        ("note", "x", "There is no app.Note with the key x."),
        ("prices", '["much"]', "is not a valid list"),
        ("prices", "[", "is not a valid list"),
        ("lines", "[", "It is no JSON"),
        ("title", "a\0b", "Null characters are not allowed."),
    ],
)
def test_what_does_not_fit_is_told_beside_its_field(name, given, error):
    row, browser = invoice(), client(*MAY)
    html = edit(browser, row, **{name: given}).content.decode()
    field = html[html.index(f'id="id_argument-{name}"') - 400 :]
    assert error in unescape(field[: field.index("</ul>")]), name
    assert exists(row)
    assert not QueuedJob.objects.exists()


def test_secrets_are_not_shown_and_stay():
    row, browser = invoice(), client(*MAY)
    first = browser.get(address(row)).content.decode()
    assert "very-secret" not in first
    assert "hunter2" not in first
    lines = json.dumps([{"sku": "B"}, {"sku": "A", "password": "********"}])
    second = edit(browser, row, lines=lines)
    assert "hunter2" not in second.content.decode()
    confirm(browser, row, second)
    assert arguments()["lines"] == [{"sku": "B"}, {"sku": "A", "password": "hunter2"}]
    assert arguments()["api_token"] == "very-secret"


def test_a_secret_is_replaced_and_neither_is_shown_or_logged(caplog):
    caplog.set_level("INFO", "djqueue.audit")
    row, browser = invoice(), client(*MAY)
    second = edit(browser, row, api_token="brand-new")
    assert second.context["changes"] == [("api_token", "********", "********")]
    confirm(browser, row, second)
    assert arguments()["api_token"] == "brand-new"
    [entry] = logged()
    assert json.loads(entry.change_message)["arguments"] == ["api_token"]
    assert "brand-new" not in entry.change_message + caplog.text
    assert "api_token" in caplog.text


def test_a_mask_in_another_place_is_refused():
    row, browser = invoice(), client(*MAY)
    lines = json.dumps([{"sku": "A"}, {"password": "********"}])
    assert "A part of it is hidden" in edit(browser, row, lines=lines).content.decode()


def test_a_secret_stays_with_its_own_item_of_a_list():
    both = [{"sku": "A", "password": "secret-a"}, {"sku": "B", "password": "secret-b"}]
    row, browser = invoice(lines=both), client(*MAY)
    shown = json.loads(on_page(browser.get(address(row)).content.decode())["argument-lines"][0])
    second = edit(browser, row, lines=json.dumps(shown[1:]))
    confirm(browser, row, second)
    assert arguments()["lines"] == both[1:]


def test_an_item_that_differs_beside_its_mask_is_refused():
    both = [{"sku": "A", "password": "secret-a"}, {"sku": "B", "password": "secret-b"}]
    row, browser = invoice(lines=both), client(*MAY)
    lines = json.dumps([{"sku": "C", "password": "********"}])
    assert "A part of it is hidden" in edit(browser, row, lines=lines).content.decode()


@pytest.fixture
def order():
    """A unique job whose tags and name are made of its arguments."""

    class Order(Job, name="edit.Order", unique=True, tries=1):
        number: int

        def tags(self):
            return [f"order:{1 // (self.number - 3) and self.number}"]

        def display_name(self):
            return f"Order {self.number}"

        def handle(self):
            raise ValueError

    yield Order
    registry.unregister("edit.Order")


@pytest.mark.parametrize("sent", [None, ""])
def test_a_form_that_lacks_a_choice_is_refused(sent):
    row, browser = invoice(), client(*MAY)
    values = on_page(browser.get(address(row)).content.decode())
    values["argument-speed"] = [] if sent is None else [sent]
    page = browser.post(address(row), values).content.decode()
    assert "This field is required." in page


def test_the_tags_the_name_and_the_key_are_those_of_the_new_arguments(order):
    order(1).dispatch()
    work()
    row, browser = FailedJob.objects.get(), client(*MAY)
    confirm(browser, row, edit(browser, row, number="2"))
    read = payload.decode(QueuedJob.objects.get().payload)
    assert (read.tags, read.display_name) == (("order:2",), "Order 2")
    assert not order(2).dispatch().created
    assert order(1).dispatch().created


def test_a_job_whose_new_key_another_job_has_is_not_retried(order):
    order(1).dispatch()
    work()
    other = order(2).dispatch()
    row, browser = FailedJob.objects.get(), client(*MAY)
    told = confirm(browser, row, edit(browser, row, number="2"))
    assert f"job {other.id} has its unique key" in " ".join(said(told))
    assert exists(row)


def test_a_function_of_the_job_that_fails_for_the_new_arguments_is_said(order):
    order(1).dispatch()
    work()
    row, browser = FailedJob.objects.get(), client(*MAY)
    page = unescape(edit(browser, row, number="3").content.decode())
    assert "edit.Order raised ZeroDivisionError for these arguments" in page


def test_what_the_code_does_not_take_any_more_is_left_out():
    row, browser = label(colour="red"), client(*MAY)
    assert "colour is left out" in browser.get(address(row)).content.decode()
    second = edit(browser, row)
    assert second.context["changes"] == [("colour", '"red"', "null")]
    confirm(browser, row, second)
    assert arguments() == {"order_id": 42}


def test_an_argument_that_the_payload_lacks_is_asked_for():
    row, browser = failed("app.label", payload=text_of("app.label", {})), client(*MAY)
    assert "This field is required." in edit(browser, row).content.decode()
    confirm(browser, row, edit(browser, row, order_id="1"))
    assert arguments() == {"order_id": 1}


def test_a_job_that_this_process_does_not_know_says_so():
    row, browser = failed("shop.Gone"), client(*MAY)
    html = unescape(browser.get(address(row)).content.decode())
    assert 'No running code knows a job called "shop.Gone".' in html
    assert "retries it as it is" in html
    assert '<form method="post" class="djq-form' not in html


def test_a_value_that_is_too_long_for_a_form_stays():
    row, browser = invoice(title="x" * 70_000), client(*MAY)
    first = browser.get(address(row)).content.decode()
    assert "title is too long for a form" in first
    assert len(first) < 60_000
    confirm(browser, row, edit(browser, row, copies="5"))
    assert arguments()["title"] == "x" * 70_000


@pytest.mark.parametrize("missing", MAY)
def test_each_permission_is_needed(missing):
    row = label()
    browser = client(*(each for each in MAY if each != missing))
    assert "Edit and retry" not in browser.get(f"{FAILED}{row.pk}/change/").content.decode()
    assert browser.get(address(row)).status_code == 403
    assert browser.post(address(row), {"confirmed": "yes"}).status_code == 403
    assert exists(row)


def test_the_page_of_the_job_leads_there():
    row = label()
    html = client(*MAY).get(f"{FAILED}{row.pk}/change/").content.decode()
    assert f'<a href="{address(row)}">Edit and retry…</a>' in html


def test_the_verb_has_no_button_that_acts_at_once():
    row = label()
    assert press(client(*MAY), row, "edit").status_code == 404
    assert exists(row)


def test_of_two_who_edit_the_same_job_one_is_told():
    row, anna, bert = label(), client(*MAY), client(*MAY)
    hers, his = edit(anna, row, order_id="43"), edit(bert, row, order_id="44")
    confirm(anna, row, hers)
    [told] = said(confirm(bert, row, his))
    assert re.search(r"1 job was not retried: it was already retried by user\d", told)
    assert arguments() == {"order_id": 43}


@pytest.mark.parametrize("verb", ["retry", "forget"])
def test_the_one_who_comes_second_is_told(verb):
    row, browser = label(), client(*MAY)
    second = edit(browser, row, order_id="43")
    other = client("retry_failedjob", "delete_failedjob")
    press(other, row, verb)
    [told] = said(confirm(browser, row, second))
    done = {"retry": "retried", "forget": "forgotten"}[verb]
    assert re.search(rf"1 job was not retried: it was already {done} by user\d", told)
    assert QueuedJob.objects.count() == (verb == "retry")


def test_a_job_that_has_failed_again_meanwhile_is_shown_again():
    row, browser = label(), client(*MAY)
    second = edit(browser, row, order_id="43")
    FailedJob.objects.filter(pk=row.pk).update(failed_at=timezone.now(), reservation=9)
    told = confirm(browser, row, second)
    assert "has failed again" in said(told)[0]
    assert told["Location"] == address(row)
    assert exists(row)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_statement_itself_compares_once_more(elsewhere, monkeypatch):
    """The row is another failure's between the look and the write."""
    row, browser = label(), client(*MAY)
    second = edit(browser, row, order_id="43")
    ready = retrying._ready

    def late(*given):
        FailedJob.objects.filter(pk=row.pk).update(failed_at=timezone.now(), reservation=9)
        return ready(*given)

    monkeypatch.setattr(retrying, "_ready", late)
    if elsewhere:
        move = retrying._move_apart
        monkeypatch.setattr(retrying, "_move_together", move)
    [told] = said(confirm(browser, row, second))
    assert "1 job was not retried" in told
    assert exists(row)
    assert not QueuedJob.objects.exists()


def test_a_retry_leaves_a_row_alone_that_is_not_the_one_that_was_seen():
    row = label()
    how = retrying.How(payloads={row.pk: row.payload}, seen={row.pk: retrying.as_read(row)})
    FailedJob.objects.filter(pk=row.pk).update(reservation=9)
    done = retrying.retry(how=how)
    assert (done.moved, done.refused) == (0, {retrying.FAILED_AGAIN: 1})
    assert exists(row)


def test_the_log_names_what_was_changed_and_no_values(caplog):
    caplog.set_level("INFO", "djqueue.audit")
    row, browser = label(), client(*MAY)
    confirm(browser, row, edit(browser, row, order_id="43"))
    [entry] = logged()
    recorded = json.loads(entry.change_message)
    assert recorded == {"verb": "edit", "database": "default", "arguments": ["order_id"]}
    assert "43" not in entry.change_message
    [record] = caplog.records
    assert "order_id" in caplog.text + str(vars(record))


def test_change_something_else_brings_the_form_back_with_what_was_typed():
    row, browser = label(), client(*MAY)
    second = edit(browser, row, order_id="43")
    sent = hidden(second.content.decode())
    html = browser.post(address(row), {**sent, "again": "yes"}).content.decode()
    assert on_page(html)["argument-order_id"] == ["43"]
    assert exists(row)


def test_the_new_run_does_what_was_typed():
    boom.dispatch("gone")
    work()
    row, browser = FailedJob.objects.get(), client(*MAY)
    confirm(browser, row, edit(browser, row, message="away"))
    work()
    again = FailedJob.objects.get()
    assert again.uuid == row.uuid
    assert again.exception_message == "away"


def test_a_text_with_what_no_page_can_show_is_json():
    """Nothing of it is lost, whatever else is changed."""
    title = "a\0b\r\u202ec\ud800"
    row, browser = invoice(title=title), client(*MAY)
    assert "\\u202e" in browser.get(address(row)).content.decode()
    confirm(browser, row, edit(browser, row, copies="5"))
    assert registry.find("app.Invoice").load(arguments()).title == title
