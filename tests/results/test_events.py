"""The result of a job as events, for its owner's open pages: with Django's clients."""

import asyncio
import itertools
import time
import uuid
from functools import partial

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.db import OperationalError, connection, connections
from django.test import AsyncClient, Client

from djqueue.models import JobResult
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
    parsed,
    reported,
)
from tests.support import wait_until

pytestmark = [
    pytest.mark.anywhere,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("everybody_leaves"),
]


@in_a_loop
async def test_the_owner_hears_of_each_change_and_of_the_end(owner, waiting):
    async with await opened(waiting, owner) as page:
        first = await page.next()
        assert first.data["status"] == "waiting"
        await reported(waiting, 4.0, "four")
        news = (await page.next()).data
        assert news["status"] == "running"
        assert news["progress"] == {"done": 4, "total": 10, "percent": 40, "message": "four"}
        await sync_to_async(work)()
        *_, last = await page.rest()
    assert first.id == ""
    assert last.id == "end"
    assert last.data == (await ask(waiting, owner, Accept="application/json")).json()
    assert last.data["value"] == 3


@in_a_loop
async def test_a_job_that_has_ended_is_one_event(owner, waiting):
    await sync_to_async(work)()
    page = await opened(waiting, owner)
    [only] = await page.rest()
    assert (only.id, only.data["status"]) == ("end", "done")


@in_a_loop
async def test_an_eventsource_that_has_heard_the_end_does_not_come_back(owner, waiting):
    answer = await ask(waiting, owner, **{"Last-Event-ID": "end"})
    assert answer.status_code == 204


@in_a_loop
async def test_to_everybody_else_there_is_no_such_job(owner, waiting):
    of_no_user = (await sync_to_async(jobs.adds.dispatch)(1, 2)).id
    other = await User.objects.acreate_superuser("other")
    answers = [
        await ask(waiting, other),
        await ask(waiting, None),
        await ask(of_no_user, owner),
        await ask(uuid.uuid4(), owner),
    ]
    assert {each.status_code for each in answers} == {404}
    assert len({each.content for each in answers}) == 1


@in_a_loop
async def test_one_stream_has_all_jobs_of_a_page(owner, waiting):
    other = await User.objects.acreate_user("other")
    second = (await sync_to_async(dispatched_by)(owner, jobs.adds.bind(1, 2))).id
    foreign = (await sync_to_async(dispatched_by)(other, jobs.adds.bind(1, 2))).id
    asked = f"{waiting}/?also={second}&also={foreign}&also=nonsense&also={waiting}&also="
    client = AsyncClient()
    await client.aforce_login(owner)
    answer = await client.get(f"/jobs/{asked}", headers={"Accept": EVENTS})
    async with Stream(answer) as page:
        first = [(await page.next()).data for _ in range(3)]
        assert {each["id"]: each["status"] for each in first} == {
            waiting: "waiting",
            second: "waiting",
            foreign: "unknown",
        }
        await sync_to_async(work)()
        ends = await page.rest()
    newest = {each.data["id"]: each.data["status"] for each in ends}
    assert newest == {waiting: "done", second: "done"}
    assert [each.id for each in ends] == [*("" for _ in ends[1:]), "end"]


@in_a_loop
async def test_a_page_has_fifty_jobs_at_most(owner, waiting):
    many = "&".join(f"also={uuid.uuid4()}" for _ in range(99))
    client = AsyncClient()
    await client.aforce_login(owner)
    answer = await client.get(f"/jobs/{waiting}/?{many}", headers={"Accept": EVENTS})
    async with Stream(answer) as page:
        assert len([await page.next() for _ in range(50)]) == 50
        with pytest.raises(asyncio.TimeoutError):
            await page.next(timeout=0.1)


def test_on_wsgi_pages_ask(owner, waiting):
    client = Client()
    client.force_login(owner)
    answer = client.get(f"/jobs/{waiting}/", headers={"Accept": EVENTS})
    assert answer.json()["status"] == "waiting"
    assert "Accept" in answer["Vary"]


@in_a_loop
async def test_only_who_wants_events_has_them(owner, waiting):
    assert (await ask(waiting, owner, Accept="*/*")).json()["status"] == "waiting"
    assert not (await ask(waiting, owner, method="head")).streaming


@in_a_loop
async def test_nothing_on_the_way_holds_events_back(owner, waiting, settings):
    settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware", *settings.MIDDLEWARE]
    async with await opened(waiting, owner, **{"Accept-Encoding": "gzip"}) as page:
        assert (await page.next()).data["status"] == "waiting"
        answer = page.answer
    assert answer["X-Accel-Buffering"] == "no"
    assert {"private", "no-store", "no-transform"} == set(answer["Cache-Control"].split(", "))
    assert "Accept" in answer["Vary"]


@pytest.mark.parametrize("bound", ["of the process", "of the user", "none"])
@in_a_loop
async def test_whom_there_is_no_room_for_asks(bound, owner, waiting, settings, monkeypatch):
    if bound == "of the process":
        settings.DJQUEUE = {"STREAMS": 2}
    elif bound == "of the user":
        monkeypatch.setattr(pages, "PER_USER", 2)
    else:
        settings.DJQUEUE = {"STREAMS": 0}
        assert (await ask(waiting, owner)).json()["status"] == "waiting"
        return
    other = await User.objects.acreate_user("other")
    of_other = (await sync_to_async(dispatched_by)(other, jobs.adds.bind(1, 2))).id
    async with await opened(waiting, owner) as first, await opened(waiting, owner):
        assert (await ask(waiting, owner)).json()["status"] == "waiting"
        answer = await ask(of_other, other)
        assert answer.streaming == (bound == "of the user")
        answer.close()
        await first.__aexit__()
        async with await opened(waiting, owner) as again:
            assert (await again.next()).data["status"] == "waiting"


def test_a_page_that_nobody_reads_leaves_no_trace():
    page = pages.Page("1")
    assert pages.room.admit(page, 1)
    assert not pages.room.admit(pages.Page("2"), 1)
    del page
    assert pages.room.admit(pages.Page("2"), 1)


@in_a_loop
async def test_silence_is_broken_by_comments(owner, waiting, monkeypatch):
    monkeypatch.setattr(pages, "KEEP_ALIVE", 0.05)
    async with await opened(waiting, owner) as page:
        assert (await page.next()).data
        assert (await page.next()).data is None
        assert (await page.next()).data is None


@in_a_loop
async def test_a_stream_ends_so_that_its_user_is_looked_at_again(owner, waiting, monkeypatch):
    monkeypatch.setattr(pages, "LIFE", 0.2)
    page = await opened(waiting, owner)
    assert [(each.id, each.data["status"]) for each in await page.rest()] == [("", "waiting")]


@in_a_loop
async def test_who_reads_slowly_hears_the_newest_alone(owner, waiting):
    async with await opened(waiting, owner) as page:
        await page.next()
        begun = asyncio.ensure_future(page.next())
        await reported(waiting, 1.0)
        assert (await begun).data["progress"]["done"] == 1
        for done in (2.0, 3.0, 4.0):
            await reported(waiting, done)
            await asyncio.sleep(watch.EVERY + 0.2)
        assert (await page.next()).data["progress"]["done"] == 4


@in_a_loop
async def test_a_result_that_is_gone_is_unknown(owner, waiting):
    page = await opened(waiting, owner)
    await page.next()
    await JobResult.objects.all().adelete()
    [last] = await page.rest()
    assert (last.id, last.data["status"]) == ("end", "unknown")


@in_a_loop
async def test_one_statement_asks_for_all_pages_at_most_twice_a_second(owner, waiting):
    asked = []

    def note(execute, sql, params, many, context):
        asked.append((time.monotonic(), sql))
        return execute(sql, params, many, context)

    own = [(await sync_to_async(dispatched_by)(owner, jobs.adds.bind(1, 2))).id for _ in range(3)]
    with new_connections(note):
        streams = [await opened(id, owner) for id in own * 4]
        for each in streams:
            await each.next()
        asked.clear()
        for done in range(20):
            await asyncio.gather(*(reported(id, float(done)) for id in own))
            await asyncio.sleep(0.1)
        times = [at for at, sql in asked if sql.startswith("SELECT") and "djqueue_results" in sql]
        for each in streams:
            await each.next()
            await each.__aexit__()
    assert len(times) >= 2
    assert min(late - early for early, late in itertools.pairwise(times)) > 0.5


@in_a_loop
async def test_a_page_holds_no_connection_to_a_database(owner, waiting):
    async with await opened(waiting, owner) as page:
        await page.next()
        assert await sync_to_async(lambda: connection.connection is None)()


@in_a_loop
async def test_more_jobs_than_a_statement_takes_have_turns(owner, monkeypatch):
    monkeypatch.setattr(watch, "AT_ONCE", (2, 2))
    ids = [(await sync_to_async(dispatched_by)(owner, jobs.adds.bind(1, 2))).id for _ in range(5)]
    streams = [await opened(id, owner) for id in ids]
    for each in streams:
        await each.next()
    for id in reversed(ids):
        await reported(id, 7.0)
    assert [(await each.next()).data["progress"]["done"] for each in streams] == [7] * 5
    for each in streams:
        await each.__aexit__()


@in_a_loop
async def test_pages_wait_for_a_database_that_is_away(owner, waiting, caplog):
    away = True

    def fail(execute, sql, params, many, context):
        if away and "djqueue_results" in sql:
            raise OperationalError("gone")
        return execute(sql, params, many, context)

    page = await opened(waiting, owner)
    with new_connections(fail):
        await page.next()
        await asyncio.sleep(3 * watch.EVERY)
        away = False
        await sync_to_async(work)()
        *_, last = await page.rest()
    assert last.data["status"] == "done"
    assert [each.getMessage() for each in caplog.records if "Open pages" in each.message] == [
        "Open pages wait: the results could not be read: gone"
    ]


@in_a_loop
async def test_a_client_that_leaves_frees_its_place_at_once(owner, waiting):
    client = AsyncClient()
    await client.aforce_login(owner)
    cookie = f"sessionid={client.cookies['sessionid'].value}".encode()
    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/jobs/{waiting}/",
        "headers": [(b"accept", EVENTS.encode()), (b"cookie", cookie), (b"host", b"testserver")],
    }
    browser = ApplicationCommunicator(get_asgi_application(), scope)
    await browser.send_input({"type": "http.request", "body": b""})
    assert (await browser.receive_output(5))["status"] == 200
    assert parsed((await browser.receive_output(5))["body"].decode()).data["status"] == "waiting"
    assert len(pages.room) == 1
    await browser.send_input({"type": "http.disconnect"})
    await browser.wait(5)
    await asyncio.sleep(0)
    assert len(pages.room) == 0
    assert not watch.Watch.here()._prune()


@in_a_loop
async def test_the_watch_is_over_when_nobody_watches(owner, waiting):
    with new_connections(lambda execute, *call: execute(*call)) as found:
        async with await opened(waiting, owner) as page:
            await page.next()
            await reported(waiting, 1.0)
            await page.next()
            [task] = [each for each in asyncio.all_tasks() if each.get_name() == watch.NAME]
        await asyncio.wait_for(task, 2)
        of_test = await sync_to_async(lambda: connections["default"])()
        [own] = [each for each in found if each is not of_test]
        closed = partial(lambda own: own.connection is None, own)
        await sync_to_async(wait_until)(closed, what="the watch closes its connection")
    async with await opened(waiting, owner) as page:  # and it begins again
        await page.next()
        await reported(waiting, 2.0)
        assert (await page.next()).data["progress"]["done"] == 2


def test_the_watch_is_over_when_its_pages_were_dropped(waiting):
    async def drop():
        page = pages.Page("1")
        page.begin_with({waiting: watch.unknown(waiting)._replace(has_ended=False)})
        await anext(page)
        [task] = [each for each in asyncio.all_tasks() if each.get_name() == watch.NAME]
        del page
        await asyncio.wait_for(task, 2)

    asyncio.run(drop())
