"""Open pages on a real ASGI server."""

import asyncio
import contextlib
import signal
import time

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from djqueue.models import JobResult
from tests import support
from tests.app import keeping
from tests.results.support import EVENTS, dispatched_by, parsed
from tests.services.server import HOST

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.wallclock,
    pytest.mark.django_db(transaction=True),
]
PAGES = 100


@pytest.fixture
def owner():
    return User.objects.create_user("owner")


class Page:
    """A page that a browser has open: its newest event, and when that came."""

    def __init__(self, port, id, cookie):
        self._port, self._id, self._cookie = port, id, cookie
        self.newest = None
        self.at = 0.0
        self.opened = asyncio.Event()

    async def stay(self):
        """Read until the server ends the stream."""
        reader, writer = await asyncio.open_connection(HOST, self._port)
        try:
            await self._read(reader, writer)
        finally:
            writer.close()

    async def _read(self, reader, writer):
        request = f"GET /jobs/{self._id}/ HTTP/1.1\r\nHost: localhost\r\nAccept: {EVENTS}\r\n"
        writer.write(f"{request}Cookie: {self._cookie}\r\n\r\n".encode())
        status = await reader.readline()
        assert b" 200 " in status, status
        while (line := await reader.readline()) not in (b"", b"0\r\n"):  # the last chunk
            if line.startswith(b"data: "):
                self.newest, self.at = parsed(line.decode()).data, time.time()
                self.opened.set()


def cookie_of(user):
    client = Client()
    client.force_login(user)
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


@contextlib.asynccontextmanager
async def open_pages(site, id, cookie, count):
    """Pages of one job, once all of them have heard of it."""
    pages = [Page(site.port, id, cookie) for _ in range(count)]
    tasks = [asyncio.create_task(page.stay()) for page in pages]
    try:
        await asyncio.wait_for(asyncio.gather(*(page.opened.wait() for page in pages)), 60)
        yield pages, tasks
    finally:
        for task in tasks:
            task.cancel()


def few_connections():
    """The pages hold no connection to the database."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname=current_database()")
            [count] = cursor.fetchone()
        connection.close()  # of this thread
        assert count <= 10


def test_a_hundred_pages_see_the_last_state_within_a_second(site, owner):
    id = dispatched_by(owner, keeping.reports.bind(1000, 3.0)).id
    cookie = cookie_of(owner)

    async def look():
        async with open_pages(site, id, cookie, PAGES) as (pages, tasks):
            await sync_to_async(few_connections)()
            await asyncio.sleep(1)  # the watch has its connection
            since = time.time()
            with support.start_worker("--stop-when-empty"):
                await asyncio.wait_for(asyncio.gather(*tasks), 60)
            return pages, since

    pages, since = asyncio.run(look())
    ended = JobResult.objects.get(pk=id).finished_at.timestamp()
    assert {page.newest["status"] for page in pages} == {"done"}
    assert {page.newest["progress"]["done"] for page in pages} == {1000}
    assert max(page.at for page in pages) - ended <= 1
    asked = site.statements(since, ended)
    assert any("djqueue_results" in sql for sql in asked)
    assert len(asked) <= 2 * (ended - since) + 1, asked
    print(
        f"last event after {max(page.at for page in pages) - ended:.2f} s; "
        f"{len(asked)} statements in {ended - since:.1f} s"
    )


def test_a_server_that_stops_ends_its_streams(site, owner):
    id = dispatched_by(owner, keeping.reports.bind(1, 0.0)).id
    cookie = cookie_of(owner)

    async def look():
        async with open_pages(site, id, cookie, 5) as (_, tasks):
            site.process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(asyncio.gather(*tasks), 20)

    asyncio.run(look())
    site.process.wait(20)
    assert "Traceback" not in site.output.read_text()
