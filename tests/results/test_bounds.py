"""What bounds a stream: who may see it, its life, its reader, and what breaks beside it."""

import asyncio
import contextvars
import logging
import time
import uuid
import weakref

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.db import OperationalError, connection
from django.test import AsyncClient, Client

from djqueue.models import JobResult, QueuedJob
from djqueue.results import pages, watch
from djqueue.testing import work
from tests.composition import jobs
from tests.results.support import (
    EVENTS,
    Stream,
    ask,
    dispatched_by,
    in_a_loop,
    new_connections,
    opened,
    reported,
)

pytestmark = [
    pytest.mark.anywhere,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("everybody_leaves"),
]
dispatched_by_async = sync_to_async(dispatched_by)


@in_a_loop
async def test_a_result_that_has_become_anothers_is_unknown(owner, waiting):
    other = await User.objects.acreate_user("other")
    page = await opened(waiting, owner)
    await page.next()
    await JobResult.objects.aupdate(owner=str(other.pk))
    await sync_to_async(work)()
    [last] = await page.rest()
    assert (last.id, last.data["status"], last.data["value"]) == ("end", "unknown", None)


@in_a_loop
async def test_a_logout_ends_the_streams_of_the_user(owner, waiting):
    other = await User.objects.acreate_user("other")
    of_other = (await dispatched_by_async(other, jobs.adds.bind(1, 2))).id
    client = AsyncClient()
    await client.aforce_login(owner)
    answer = await client.get(f"/jobs/{waiting}/", headers={"Accept": EVENTS})
    async with Stream(answer) as page, await opened(of_other, other) as others:
        await page.next()
        await others.next()
        await sync_to_async(client.logout)()
        assert await asyncio.wait_for(page.rest(), 5) == []
        await reported(of_other, 2.0)
        assert (await others.next()).data["progress"]["done"] == 2


def test_a_stream_lives_for_a_minute_and_not_all_alike():
    made = [pages.Page("1") for _ in range(20)]
    left = [page.left() for page in made]
    assert 40 < min(left) < max(left) <= 60
    assert max(left) - min(left) > 1


@in_a_loop
async def test_a_stream_that_is_cancelled_ends():
    """`asyncio.wait_for` of Python 3.10 and 3.11 loses a cancellation that comes with news."""
    for ticks in range(4):
        id = str(uuid.uuid4())
        page = pages.Page("1")
        page.begin_with({id: watch.State("{}", has_ended=False)})
        await anext(page)

        async def read(page=page):
            async for _ in page:
                pass

        reading = asyncio.create_task(read())
        await asyncio.sleep(0.02)
        page.hear(id, watch.State('{"news": 1}', has_ended=False))
        for _ in range(ticks):
            await asyncio.sleep(0)
        reading.cancel()
        ended, _ = await asyncio.wait([reading], timeout=0.2)
        reading.cancel()
        page.close()
        await asyncio.sleep(0)
        assert ended, ticks


@in_a_loop
async def test_a_reader_that_does_not_read_keeps_no_place(owner, waiting, settings, monkeypatch):
    monkeypatch.setattr(pages, "LIFE", 0.2)
    monkeypatch.setattr(pages, "MARGIN", 0.1)
    settings.DJQUEUE = {"STREAMS": 1}
    client = AsyncClient()
    await client.aforce_login(owner)
    cookie = f"sessionid={client.cookies['sessionid'].value}".encode()
    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/jobs/{waiting}/",
        "query_string": b"",
        "headers": [(b"accept", EVENTS.encode()), (b"cookie", cookie), (b"host", b"testserver")],
    }
    said = asyncio.Queue()
    await said.put({"type": "http.request", "body": b""})
    stuck = asyncio.Event()

    async def send(message):
        if message.get("body"):
            stuck.set()
            await asyncio.Event().wait()  # as a server does whose buffer is full

    serving = asyncio.create_task(get_asgi_application()(scope, said.get, send))
    await asyncio.wait_for(stuck.wait(), 10)
    assert len(pages.room) == 1
    await asyncio.sleep(0.5)
    async with await opened(waiting, owner) as another:
        assert (await another.next()).data["status"] == "waiting"
    watching = [each for each in asyncio.all_tasks() if each.get_name() == watch.NAME]
    await said.put({"type": "http.disconnect"})
    await serving
    await asyncio.wait(watching, timeout=2)


def test_a_page_that_is_never_begun_keeps_no_place(monkeypatch):
    monkeypatch.setattr(pages, "LIFE", 0.0)
    monkeypatch.setattr(pages, "MARGIN", 0.3)
    held, second, third = pages.Page("1"), pages.Page("1"), pages.Page("1")
    assert pages.room.admit(held, 1)
    assert not pages.room.admit(second, 1)
    time.sleep(0.4)
    assert pages.room.admit(third, 1)


@in_a_loop
async def test_what_was_not_read_in_time_is_not_sent_later(monkeypatch):
    monkeypatch.setattr(pages, "LIFE", 0.1)
    monkeypatch.setattr(pages, "MARGIN", 0.1)
    ids = [str(uuid.uuid4()) for _ in range(2)]
    page = pages.Page("1")
    page.begin_with({id: watch.State("{}", has_ended=False) for id in ids})
    await anext(page)
    await asyncio.sleep(0.4)
    with pytest.raises(StopAsyncIteration):
        await anext(page)


@in_a_loop
async def test_a_page_that_was_dropped_is_kept_by_no_timer():
    page = pages.Page("1")
    page.begin_with({str(uuid.uuid4()): watch.State("{}", has_ended=False)})
    await anext(page)
    dropped = weakref.ref(page)
    del page
    assert dropped() is None


@in_a_loop
async def test_the_watch_has_the_context_of_no_request(owner, waiting):
    whose = contextvars.ContextVar("whose", default="nobody's")
    heard = []

    class Note(logging.Handler):
        def emit(self, record):
            heard.append(whose.get())

    def fail(execute, sql, params, many, context):
        if "djqueue_results" in sql:
            raise OperationalError("gone")
        return execute(sql, params, many, context)

    logger, note = logging.getLogger("djqueue"), Note()
    logger.addHandler(note)
    whose.set("the first page's")
    async with await opened(waiting, owner) as page:
        with new_connections(fail):
            await page.next()
            await asyncio.sleep(2 * watch.EVERY)
    logger.removeHandler(note)
    assert heard == ["nobody's"]


@in_a_loop
async def test_a_row_that_cannot_be_read_ends_no_other_page(owner, waiting, caplog):
    other = await User.objects.acreate_user("other")
    broken = (await dispatched_by_async(other, jobs.adds.bind(1, 2))).id
    async with await opened(waiting, owner) as page, await opened(broken, other) as of_broken:
        await page.next()
        await of_broken.next()
        await JobResult.objects.filter(pk=broken).aupdate(
            value="{", status="done", finished_at="2026-01-01T00:00:00Z"
        )
        [last] = await of_broken.rest()
        assert (last.id, last.data["status"]) == ("end", "unknown")
        await reported(waiting, 2.0)
        assert (await page.next()).data["progress"]["done"] == 2
    told = [each.getMessage() for each in caplog.records if broken in each.getMessage()]
    assert len(told) == 1


@in_a_loop
async def test_a_row_that_cannot_be_read_is_unknown_beside_others(owner, waiting):
    broken = (await dispatched_by_async(owner, jobs.adds.bind(1, 2))).id
    await JobResult.objects.filter(pk=broken).aupdate(
        value="{", status="done", finished_at="2026-01-01T00:00:00Z"
    )
    async with await opened(f"{waiting}/?also={broken}", owner) as page:
        first = [(await page.next()).data for _ in range(2)]
    assert {each["id"]: each["status"] for each in first} == {
        waiting: "waiting",
        broken: "unknown",
    }


@in_a_loop
async def test_a_watch_that_breaks_ends_its_pages(owner, waiting):
    broken = []

    def break_(execute, sql, params, many, context):
        if broken and "djqueue_results" in sql:
            raise RuntimeError("a bug")
        return execute(sql, params, many, context)

    with new_connections(break_):  # which the watch may open at once
        page = await opened(waiting, owner)
        await page.next()
        broken.append(True)
        assert await page.rest() == []


@in_a_loop
async def test_the_first_status_is_that_of_the_json(owner):
    job = jobs.adds.bind(1, 2).using(delay=600)
    delayed = (await dispatched_by_async(owner, job)).id
    async with await opened(delayed, owner) as page:
        assert (await page.next()).data["status"] == "delayed"
        with pytest.raises(asyncio.TimeoutError):
            await page.next(timeout=2 * watch.EVERY)  # the watch says nothing else of it
    async with await opened(delayed, owner) as page:
        await page.next()
        await reported(delayed, 2.0)
        assert (await page.next()).data["status"] == "running"


@in_a_loop
async def test_the_stream_of_a_job_that_its_store_has_lost_ends(owner, waiting):
    second = (await dispatched_by_async(owner, jobs.adds.bind(1, 2))).id
    await QueuedJob.objects.all().adelete()
    page = await opened(f"{waiting}/?also={second}", owner)
    said = await page.rest()
    as_json = (await ask(waiting, owner, Accept="application/json")).json()
    assert [each.data["status"] for each in said] == ["unknown", "unknown"]
    assert said[0].data == as_json
    assert said[-1].id == "end"


@in_a_loop
async def test_whom_there_is_no_room_for_costs_no_question_for_other_jobs(owner, waiting, settings):
    settings.DJQUEUE = {"STREAMS": 0}
    asked = []

    def note(execute, sql, params, many, context):
        asked.append(sql)
        return execute(sql, params, many, context)

    def wrapped(yes):
        (connection.execute_wrappers.append if yes else connection.execute_wrappers.remove)(note)

    await sync_to_async(wrapped)(True)
    await ask(f"{waiting}/?also={uuid.uuid4()}", owner)
    await sync_to_async(wrapped)(False)
    assert sum("djqueue_results" in sql and sql.startswith("SELECT") for sql in asked) <= 2


def test_a_result_is_read_in_no_transaction(owner, waiting, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    client = Client()
    client.force_login(owner)
    inside = []

    def note(execute, sql, params, many, context):
        if "djqueue_results" in sql:
            inside.append(connection.in_atomic_block)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        assert client.get(f"/jobs/{waiting}/").status_code == 200
    assert set(inside) == {False}


@in_a_loop
async def test_databases_other_than_sqlite_are_asked_for_all_in_one_statement(owner, monkeypatch):
    monkeypatch.setattr(watch, "AT_ONCE", (2, 100) if connection.vendor == "sqlite" else (2, 3))
    ids = [(await dispatched_by_async(owner, jobs.adds.bind(1, 2))).id for _ in range(3)]
    asked = []

    def note(execute, sql, params, many, context):
        if "djqueue_results" in sql:
            asked.append(len(params))
        return execute(sql, params, many, context)

    async with await opened(f"{ids[0]}/?also={ids[1]}&also={ids[2]}", owner) as page:
        with new_connections(note):
            for _ in ids:
                await page.next()
            await asyncio.sleep(3 * watch.EVERY)
    assert set(asked) == {2 if connection.vendor == "sqlite" else 3}
