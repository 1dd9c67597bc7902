"""Streams of events as their readers see them."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

from asgiref.sync import async_to_sync, sync_to_async
from django.db.backends.signals import connection_created
from django.test import AsyncClient

from djqueue import context
from djqueue.results import rows

EVENTS = "text/event-stream"


class Event(NamedTuple):
    id: str
    data: dict[str, Any] | None
    """None: a comment."""


def parsed(text: str) -> Event:
    """An event, from its lines."""
    fields = dict(line.split(": ", 1) for line in text.splitlines() if line and line[0] != ":")
    data = fields.get("data")
    return Event(fields.get("id", ""), None if data is None else json.loads(data))


def in_a_loop(test):
    """Run a coroutine as a test. What it runs in threads has the connections of the test."""

    @wraps(test)
    def run(*args, **kwargs):
        async_to_sync(test)(*args, **kwargs)

    return run


def dispatched_by(user, job):
    with context.scope(user_id=user.pk):
        return job.dispatch()


@contextmanager
def new_connections(wrapper):
    """Put `wrapper` around each statement of connections that are opened in this block. The target
    is a list of them.
    """
    found = []

    def opened(connection, **kwargs):
        found.append(connection)
        if wrapper not in connection.execute_wrappers:  # it may be opened again
            connection.execute_wrappers.append(wrapper)

    connection_created.connect(opened)
    try:
        yield found
    finally:
        connection_created.disconnect(opened)


class Stream:
    """An open page. Close it in the event loop that it was opened in."""

    def __init__(self, answer):
        self.answer = answer
        self._parts = aiter(answer)

    async def next(self, timeout=10):
        return parsed((await asyncio.wait_for(anext(self._parts), timeout)).decode())

    async def rest(self):
        return [parsed(part.decode()) async for part in self._parts]

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await sync_to_async(self.answer.close)()
        await asyncio.sleep(0)


async def ask(id, user, method="get", **headers):
    client = AsyncClient()
    if user is not None:
        await client.aforce_login(user)
    path = f"/jobs/{id}" if "?" in str(id) else f"/jobs/{id}/"
    return await getattr(client, method)(path, headers={"Accept": EVENTS, **headers})


async def opened(id, user, **headers):
    answer = await ask(id, user, **headers)
    assert answer["Content-Type"] == EVENTS
    return Stream(answer)


def reported(id, done, message=""):
    return sync_to_async(rows.reported)("default", {str(id): (done, 10.0, message)})
