"""Dispatching from coroutines."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction

from djqueue import adispatch, adispatch_many, dispatch, dispatch_many, dispatch_sync, queues
from djqueue.errors import ResultNotStored
from djqueue.models import QueuedJob
from tests.dispatch.jobs import Write, add, ran

everywhere = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("connection", ["memory", "sync", "null", "database"])
def test_dispatch_in_an_event_loop_names_adispatch_on_every_driver(memory, connection):
    job = Write().using(connection=connection)

    async def view(send):
        send()

    for send in (
        job.dispatch,
        lambda: dispatch(job),
        add.using(connection=connection).bind(1).dispatch,
    ):
        with pytest.raises(SynchronousOnlyOperation, match=r"await adispatch\(\)"):
            asyncio.run(view(send))
    for send in (job.dispatch_sync, lambda: dispatch_sync(job), lambda: dispatch_many([job])):
        with pytest.raises(SynchronousOnlyOperation, match="sync_to_async"):
            asyncio.run(view(send))
    assert (memory, ran) == ([], [])


def test_adispatch_dispatches(memory):
    async def view():
        first = await Write("x").adispatch()
        second = await add.using(connection="memory").adispatch(1, b=2)
        return [first.id, second.id]

    assert async_to_sync(view)() == [job.id for job in memory]


def test_the_check_can_be_lifted_as_djangos_own(memory, monkeypatch):
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")

    async def view():
        Write().dispatch()

    asyncio.run(view())
    assert len(memory) == 1


def test_on_sync_a_coroutine_runs_from_a_coroutine(transactional_db):
    async def view():
        await add.using(connection="sync").adispatch(1)

    async_to_sync(view)()
    assert ran == ["sync"]


@everywhere
def test_adispatch_is_on_the_connection_of_the_orm(memory):
    def rolled_back():
        with transaction.atomic():
            async_to_sync(Write().using(connection="database").adispatch)()
            async_to_sync(Write().adispatch)()
            transaction.set_rollback(True)

    async def view():
        await sync_to_async(rolled_back)()
        await Write().using(connection="database").adispatch()

    async_to_sync(view)()
    assert QueuedJob.objects.count() == 1
    assert memory == []


@everywhere
def test_every_blocking_call_has_its_twin():
    async def view():
        first = await adispatch(Write("x").using(connection="database"))
        many = [Write(str(n)).using(connection="database") for n in range(3)]
        assert await adispatch_many(many) == 3
        queue = queues["database"]
        assert await first.astatus() == "waiting"
        assert (await queue.acounts("mail")).waiting == await queue.asize("mail")
        await queue.apause("mail", reason="a test")
        assert await queue.aresume("mail")
        assert await first.acancel()
        assert await first.astatus() == "unknown"
        with pytest.raises(ResultNotStored):
            await first.aresult()
        waiting = await queue.apeek(first_queue)
        assert len(waiting) == 3
        assert await queue.aremove(first_queue, [waiting[0].id]) == 1
        assert await queue.aclear(first_queue) == 2
        assert await queue.ais_empty(first_queue)

    first_queue = Write("x").using(connection="database").dispatch()._queue
    queues["database"].clear(first_queue)
    async_to_sync(view)()
