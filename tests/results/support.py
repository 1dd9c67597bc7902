"""Streams of events as their readers see them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

from asgiref.sync import async_to_sync
from django.db.backends.signals import connection_created

from djqueue import context

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
    yield found
    connection_created.disconnect(opened)
