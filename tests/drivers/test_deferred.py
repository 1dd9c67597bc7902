"""Jobs that run after the response, in the process of the request."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, RequestFactory, override_settings
from django.urls import path

from djqueue import current_job, job, queues
from djqueue.errors import Unsupported
from djqueue.signals import job_queued
from djqueue.testing import fake_queue

DJQUEUE = {
    "DEFAULT": "deferred",
    "CONNECTIONS": {
        "deferred": {"DRIVER": "deferred"},
        "resilient": {"DRIVER": "failover", "CONNECTIONS": ["down", "deferred"]},
        "down": {"DRIVER": "redis", "URL": "redis://127.0.0.1:1/0"},
    },
}

events: list[str] = []


@job(name="test.deferred.note")
def note(text: str) -> None:
    events.append(text)
    if text == "broken":
        raise ValueError("this one fails")
    if text == "more":
        note.dispatch("the one that it dispatched")
    if text == "a query":
        connection.ensure_connection()
    if text == "where":
        events.append(current_job().connection)


def several(request):
    note.dispatch("first")
    note.dispatch("second")
    events.append("view")
    return HttpResponse("ok")


def rolled_back(request):
    with transaction.atomic():
        note.dispatch("committed")
        note.using(after_commit=False).dispatch("at once")
    try:
        with transaction.atomic():
            note.dispatch("rolled back")
            raise ZeroDivisionError
    except ZeroDivisionError:
        events.append("view")
    return HttpResponse("ok")


def failing(request):
    for text in ("broken", "more", "after it"):
        note.dispatch(text)
    events.append("view")
    return HttpResponse("ok")


def raising(request):
    note.dispatch("in spite of that")
    raise ZeroDivisionError


def streaming(request):
    def body():
        note.dispatch("from the body")
        yield b"one"
        events.append("body")

    return StreamingHttpResponse(body())


def elsewhere(request):
    thread = threading.Thread(target=note.dispatch, args=("in a thread of its own",))
    thread.start()
    thread.join()
    events.append("view")
    return HttpResponse("ok")


def without_a_store(request):
    note.using(connection="resilient").dispatch("where")
    events.append("view")
    return HttpResponse("ok")


def querying(request):
    note.dispatch("a query")
    return HttpResponse("ok")


async def asynchronous(request):
    await note.adispatch("first")
    events.append("view")
    return HttpResponse("ok")


VIEWS = (
    several, rolled_back, failing, raising, streaming, elsewhere, without_a_store, querying,
    asynchronous,
)  # fmt: skip
urlpatterns = [path(f"{view.__name__}/", view) for view in VIEWS]


@pytest.fixture(autouse=True)
def _settings():
    events.clear()
    # A request looks after connections that are open; without `django_db` it must not find any.
    connections.close_all()
    with override_settings(DJQUEUE=DJQUEUE, ROOT_URLCONF=__name__):
        yield


# -- requests ------------------------------------------------------------------------------------


def test_jobs_run_after_the_response_in_order(client):
    client.get("/several/")
    assert events == ["view", "first", "second"]


def test_a_server_has_sent_the_response_by_then():
    handler = WSGIHandler()
    environ = RequestFactory().get("/several/").environ
    response = handler(environ, lambda status, headers: None)
    assert b"".join(response) == b"ok"
    assert events == ["view"]
    response.close()
    assert events == ["view", "first", "second"]


def test_a_stream_has_ended_by_then(client):
    response = client.get("/streaming/")
    assert b"".join(response.streaming_content) == b"one"
    assert events == ["body", "from the body"]


def test_requests_at_once_do_not_run_each_others_jobs():
    handler = WSGIHandler()
    first = handler(RequestFactory().get("/several/").environ, lambda status, headers: None)

    def another():
        environ = RequestFactory().get("/elsewhere/").environ
        handler(environ, lambda status, headers: None).close()

    thread = threading.Thread(target=another)
    thread.start()
    thread.join()
    assert events == ["view", "in a thread of its own", "view"]
    first.close()
    assert events[3:] == ["first", "second"]


@pytest.mark.parametrize("view", ["several", "asynchronous"])
def test_an_asgi_server_has_sent_the_response_by_then(view):
    async def request():
        scope = {"type": "http", "method": "GET", "path": f"/{view}/", "headers": []}
        scope |= {"query_string": b"", "http_version": "1.1", "asgi": {"version": "3.0"}}
        server = ApplicationCommunicator(ASGIHandler(), scope)
        await server.send_input({"type": "http.request"})
        assert (await server.receive_output())["status"] == 200
        assert (await server.receive_output())["body"] == b"ok"
        await server.wait(10)

    asyncio.run(request())
    assert events == ["view", "first", "second"][: len(events)]
    assert events[-1] != "view"


def test_djangos_async_client_has_no_after():
    async def request():
        return await AsyncClient().get("/asynchronous/")

    asyncio.run(request())
    assert events == ["first", "view"]


def test_a_thread_of_the_projects_own_is_outside_the_request(client):
    client.get("/elsewhere/")
    assert events == ["in a thread of its own", "view"]


def test_a_response_that_was_never_closed_loses_nothing(client):
    WSGIHandler()(RequestFactory().get("/several/").environ, lambda status, headers: None)
    assert events == ["view"]
    client.get("/elsewhere/")
    assert events[:3] == ["view", "first", "second"]


# -- errors --------------------------------------------------------------------------------------


def test_an_error_is_logged_and_the_others_run(client, caplog):
    with caplog.at_level(logging.ERROR, logger="djqueue"):
        assert client.get("/failing/").status_code == 200
    assert events == ["view", "broken", "more", "after it", "the one that it dispatched"]
    (record,) = [record for record in caplog.records if record.name == "djqueue"]
    assert "test.deferred.note" in record.message
    assert record.exc_info is not None
    assert "this one fails" in str(record.exc_info[1])


def test_a_view_that_fails_has_dispatched_all_the_same(client):
    client.raise_request_exception = False
    assert client.get("/raising/").status_code == 500
    assert events == ["in spite of that"]


# -- outside a request ---------------------------------------------------------------------------


def test_outside_a_request_a_job_runs_at_once_and_its_error_is_logged(caplog):
    note.dispatch("now")
    note.dispatch("broken")
    assert events == ["now", "broken"]
    assert "will not be retried" in caplog.text


def test_after_a_request_is_outside_again(client):
    client.get("/several/")
    note.dispatch("now")
    assert events[-1] == "now"


def test_a_signal_tells_of_each_job_when_it_is_dispatched(client):
    seen = []

    def receive(job, **_):
        seen.append((job.connection, list(events)))

    job_queued.connect(receive)
    try:
        client.get("/several/")
    finally:
        job_queued.disconnect(receive)
    assert seen == [("deferred", []), ("deferred", [])]


# -- transactions --------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_job_waits_for_the_commit_and_then_for_the_response(client):
    client.get("/rolled_back/")
    assert events == ["view", "at once", "committed"]


@pytest.mark.django_db(transaction=True)
def test_with_atomic_requests_a_view_that_fails_leaves_nothing(client, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    client.raise_request_exception = False
    client.get("/raising/")
    assert events == []
    client.get("/several/")
    assert events == ["view", "first", "second"]


@pytest.mark.django_db(transaction=True)
def test_outside_a_request_a_job_runs_after_the_commit():
    with transaction.atomic():
        note.dispatch("later")
        assert events == []
    assert events == ["later"]


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_a_job_has_opened_is_closed_as_after_a_request():
    response = WSGIHandler()(RequestFactory().get("/querying/").environ, lambda *_: None)
    connection.close()
    response.close()
    assert events == ["a query"]
    assert connection.connection is None


@pytest.mark.django_db
def test_inside_a_test_case_the_transaction_of_the_test_stays_open(client):
    client.get("/several/")
    assert connection.in_atomic_block
    assert events == ["view", "first", "second"]


# -- the connection ------------------------------------------------------------------------------


def test_it_is_a_last_resort_of_a_failover(client):
    client.get("/without_a_store/")
    assert events == ["view", "where", "deferred"]


def test_nothing_runs_where_dispatches_are_recorded(client):
    with fake_queue() as fake:
        client.get("/several/")
        fake.assert_dispatched(note, times=2)
    assert events == ["view"]


def test_it_keeps_nothing():
    deferred = queues["deferred"]
    assert (deferred.size(), deferred.peek(), deferred.clear()) == (0, [], 0)
    with pytest.raises(Unsupported, match="keeps no jobs"):
        deferred.driver.push([])
    with pytest.raises(Exception, match="keeps no jobs"):
        call_command("queue_work", "deferred")
