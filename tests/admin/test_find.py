"""One job, wherever it is now: the overview's search for an id, and the link after a retry."""

from __future__ import annotations

import html
import re
import socket
import time
from datetime import timedelta

import pytest
from django.contrib.messages import get_messages
from django.db import OperationalError
from django.db.models.functions import Now
from django.db.models.query import QuerySet
from django.test import override_settings
from django.utils import timezone

from djqueue import chain
from djqueue.dispatch import controls
from djqueue.dispatch.connections import queues
from djqueue.models import FailedJob, FinishedJob, Outbox, QueuedJob
from djqueue.operations import selection
from djqueue.testing import work
from tests.admin.support import FAILED, JOBS, OVERVIEW, client, failed, result, waiting
from tests.admin.support import press as pressed
from tests.composition import jobs

pytestmark = pytest.mark.django_db
FIND = f"{OVERVIEW}find/"


def _found(id, browser=None):
    response = (browser or client()).get(FIND, {"q": str(id)})
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def _answer(page):
    return re.search(r'<p class="djq-note[^>]*>(.*?)</p>', page, re.DOTALL)[1]


def _link(page):
    return re.search(r'<a class="button" href="([^"]+)"', page)[1].replace("&amp;", "&")


def test_a_waiting_job_by_the_end_of_its_id():
    row = waiting("app.record")
    page = _found(str(row.uuid)[-8:])
    assert "No worker reads database:default." in page
    listed = client().get(_link(page)).content.decode()
    assert f"{JOBS}{row.pk}/change/" in listed


def test_a_step_that_waits_in_the_outbox():
    chain([jobs.number.bind(1), jobs.total.bind()]).dispatch()
    row = Outbox.objects.get()
    page = _found(row.uuid)
    assert "It waits for 1 step of its chain before it." in page
    assert client().get(_link(page)).status_code == 200


def test_a_failed_job_and_its_message_for_those_who_may_see_it():
    row = failed()
    page = _found(row.uuid)
    assert "It failed 3 min ago, at attempt 3." in page
    assert "no such order" in page
    assert f"{FAILED}{row.pk}/change/" in client().get(_link(page)).content.decode()
    some = client("view_overview", "view_failedjob", view=False)
    assert "OutOfStock" in (hidden := _found(row.uuid, some))
    assert "no such order" not in hidden


def test_a_result_and_a_finished_job():
    row = result()
    page = _found(row.pk)
    assert "It is done, just now." in page
    assert client().get(_link(page)).status_code == 200
    with override_settings(DJQUEUE={"KEEP_DONE": 600}):
        done = FinishedJob.objects.create(
            uuid="01a219d0-2902-73aa-88fa-03881bea5570",
            name="app.record",
            queue="mail",
            connection="database",
            attempts=1,
            duration=2.5,
            finished_at=Now() - timedelta(seconds=70),
        )
        some = client("view_overview", "view_finishedjob", view=False)
        assert "It was done 1 min ago, in 2.50 s." in _found(done.uuid, some)


def test_what_an_account_may_not_see_is_not_shown():
    row = waiting("app.record", queue="secret-plans")
    some = client("view_overview", "view_failedjob", view=False)
    unknown = "01a219d0-2902-73aa-88fa-03881bea5570"
    page = _found(row.uuid, some)
    assert _answer(page).replace(str(row.uuid), unknown) == _answer(_found(unknown, some))
    assert "secret-plans" not in page
    waiting("app.record", uuid=f"{str(row.uuid)[:-4]}0000")
    assert "0000" not in _answer(_found(str(row.uuid)[:12], some)), "those that an id fits"
    assert client("view_queuedjob", view=False).get(FIND, {"q": "abcdef"}).status_code == 403


def test_an_id_that_no_job_has_and_a_text_that_is_none():
    assert "No job" in _found("0123456789abcdef")
    for wrong in ("abc", "' OR 1=1 --", "<script>alert(1)</script>", "\x00" * 9, "é" * 64):
        page = client().get(FIND, {"q": wrong}).content.decode()
        assert "<script>alert(1)" not in page
        assert "djq-note" in page


def test_the_message_after_a_retry_leads_to_the_new_run_and_to_its_end():
    jobs.breaks.dispatch()
    work()
    row = FailedJob.objects.get()
    browser = client("retry_failedjob")
    (message,) = map(str, get_messages(pressed(browser, row, "retry").wsgi_request))
    link = re.search(r'href="([^"]+)"', message)[1]
    assert link == f"{FIND}?q={row.uuid}"
    assert QueuedJob.objects.get().uuid == row.uuid
    assert "No worker reads" in browser.get(link).content.decode()
    work()
    assert "It failed just now" in browser.get(link).content.decode()


def test_the_message_has_no_link_for_those_who_may_not_follow_it():
    jobs.breaks.dispatch()
    work()
    browser = client("retry_failedjob", "view_failedjob", view=False)
    request = pressed(browser, FailedJob.objects.get(), "retry").wsgi_request
    (message,) = map(str, get_messages(request))
    assert message.startswith("Retried 1 job.")
    assert "href" not in message


def test_a_part_of_the_ids_of_a_waiting_and_of_a_failed_job_names_both():
    row = waiting("app.record")
    other = failed(uuid=f"{str(row.uuid)[:-4]}0000")
    answer = _answer(_found(str(row.uuid)[:12]))
    assert str(row.uuid) in answer
    assert str(other.uuid) in answer


@pytest.fixture
def silent(settings):
    """Three stores that take connections, and say nothing."""
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [each.getsockname()[1] for each in listening]
    known = {f"redis{n}": f"redis://127.0.0.1:{port}/0" for n, port in enumerate(ports)}
    settings.DJQUEUE = {
        "CONNECTIONS": {
            "database": {"DRIVER": "database"},
            **{name: {"DRIVER": "redis", "URL": url} for name, url in known.items()},
        }
    }
    yield list(known)
    queues.close_all()
    for each in listening:
        each.close()


def test_stores_that_do_not_answer_are_named_after_two_seconds(silent):
    began = time.monotonic()
    answer = _answer(_found("0123456789abcdef0123456789abcdef"))
    assert time.monotonic() - began < 5.5, "they are asked at the same time"
    assert "No job" in answer
    for name in silent:
        assert f"Connection {name} was not looked at. It did not answer within 2 s." in answer


def test_a_job_that_is_in_sql_is_found_without_asking_other_stores(silent, monkeypatch):
    monkeypatch.setattr(selection, "in_thread", None)
    assert "No worker reads" in _found(waiting("app.record").uuid)
    assert "It failed 3 min ago" in _found(failed().uuid)
    assert "It is done, just now." in _found(result().pk)
    with pytest.raises(TypeError):
        _found("0123456789abcdef0123456789abcdef")


def test_a_job_that_is_parked_for_a_store_that_does_not_answer(silent):
    due, now = timezone.now() + timedelta(hours=1), timezone.now()
    id = "01a21858-7ddc-7eb6-a720-655703caee4f"
    values = {"connection": silent[0], "queue": "q", "name": "app.record", "payload": "{}"}
    Outbox.objects.create(uuid=id, due_at=due, created_at=now, parked=True, **values)
    page = _found(id)
    assert "It is delayed: it is due in 59 min." in page
    assert "queue_release 03caee4f --now" in page
    Outbox.objects.update(due_at=now)
    page = _found(id)
    assert f"No worker reads {silent[0]}:q." in page


@pytest.mark.parametrize("table", [Outbox, FailedJob])
def test_a_database_that_is_away_is_named_and_the_others_are_looked_at(table, monkeypatch):
    row, unknown = waiting("app.record"), "0123456789abcdef0123456789abcdef"

    def away(*args, **options):
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(table._default_manager._queryset_class, "_fetch_all", _only(table, away))
    assert "No worker reads" in _found(row.uuid)
    answer = _answer(_found(unknown))
    assert answer.count('Database "default" was not looked at. server closed the connection') == 1
    monkeypatch.undo()
    monkeypatch.setattr(controls, "pauses", away)
    assert "Why it does not run is not known" in _answer(_found(row.uuid))


def _only(table, away):
    real = QuerySet._fetch_all

    def fetch(query):
        return away() if query.model is table else real(query)

    return fetch


def test_the_overview_has_the_form():
    assert f'action="{FIND}"' in client().get(OVERVIEW).content.decode()
