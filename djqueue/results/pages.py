"""Open pages that hear of their jobs by events (server-sent ones), and the room that there is for
them in a process.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from weakref import ReferenceType, WeakSet, ref

from asgiref.sync import sync_to_async
from django.contrib.auth.signals import user_logged_out
from django.db import connections
from django.dispatch import receiver

from djqueue.results.watch import State, Watch, unknown

__all__ = ["END", "JOBS", "Page", "Room", "room"]

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent, for proxies that end what is idle."""
LIFE = 60.0
"""Seconds after which a stream ends, at most: they do not all end at once. The page then begins
another, if its user is still logged in and may see the job.
"""
MARGIN = 10.0
"""Seconds that the end of a stream may wait for its reader. Then it has no place any more."""
JOBS = 50
"""Jobs of one page."""
PER_USER = 200
"""Open pages of one user in a process."""
END = "end"
"""The id of the last event of a stream."""


class Page:
    """The events of an open page, as an asynchronous iterator of bytes.

    It keeps only the newest state of each job, so a page that reads slowly takes no memory.
    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._known: dict[str, State] = {}
        self._news: dict[str, State] = {}
        self._waits_for: set[str] = set()
        self._until = time.monotonic() + LIFE * random.uniform(0.75, 1.0)
        self._wake = asyncio.Event()
        self._watch: Watch | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.TimerHandle | None = None

    def begin_with(
        self, states: Mapping[str, State], known: Mapping[str, State] | None = None
    ) -> None:
        """Take the states of its jobs, by their ids: these are its first events. `known` are those
        that the watch has of them, where they differ.
        """
        self._news = dict(states)
        self._known = {**states, **(known or {})}
        self._waits_for = {id for id, state in states.items() if not state.has_ended}

    @property
    def waits_for(self) -> frozenset[str]:
        """The ids of its jobs that have not ended."""
        return frozenset(self._waits_for)

    def __aiter__(self) -> Page:
        return self

    async def __anext__(self) -> bytes:
        """Return the next event, or a comment."""
        if self._loop is None:
            await self._begin()
        if not self._news and self._waits_for:
            await self._news_or_silence()
        if self._news:
            id = next(iter(self._news))
            state = self._news.pop(id)
            last = "" if self._news or self._waits_for else f"id: {END}\n"
            return f"{last}data: {state.text}\n\n".encode()
        if not self._waits_for or not self.left():
            raise StopAsyncIteration
        return b":\n\n"

    async def _begin(self) -> None:
        await sync_to_async(_close_connections)()
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.call_later(self.left() + MARGIN, _end_of, ref(self))
        self._watch = Watch.here()
        self._watch.add(self)

    def left(self) -> float:
        """Return the seconds until the stream ends."""
        return max(0.0, self._until - time.monotonic())

    @property
    def is_overdue(self) -> bool:
        """Whether its reader has let the margin pass after its end."""
        return time.monotonic() >= self._until + MARGIN

    async def _news_or_silence(self) -> None:
        self._wake.clear()
        # Not `asyncio.wait_for`: before Python 3.12 it loses a cancellation that comes with news.
        silence = asyncio.get_running_loop().call_later(
            min(KEEP_ALIVE, self.left()), self._wake.set
        )
        try:
            await self._wake.wait()
        finally:
            silence.cancel()

    def hear(self, id: str, state: State) -> None:
        """Take the state of a job. What the page knows is no news."""
        if state.owner not in (None, self.owner):
            state = unknown(id)
        if state.has_ended:
            self._waits_for.discard(id)
        if state != self._known.get(id):
            self._known[id] = self._news[id] = state
            self._wake.set()

    def stop(self) -> None:
        """End the stream after the news that there is: no more will come."""
        self._until = 0.0
        self._wake.set()

    def stop_soon(self) -> None:
        """Do as `stop`, from any thread."""
        if self._loop is None:
            self.stop()  # its reader has not begun
            return
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self.stop)

    def give_up(self) -> None:
        """Free the place, with all that was not read in time. The watch forgets it as well."""
        room.leave(self)
        if self._end is not None:
            self._end.cancel()
        if self._watch is not None:
            self._watch.remove(self)
        self._news.clear()
        self.stop()

    def close(self) -> None:
        """Free the place. Django calls it when the client has left, or at the end, in a thread."""
        room.leave(self)
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self.give_up)


def _end_of(page: ReferenceType[Page]) -> None:
    """End a page whose reader does not read. The timer keeps none that was dropped."""
    if (found := page()) is not None:
        found.give_up()


def _close_connections() -> None:
    """Close the connections that the request has opened for its user and its view. A stream is
    open for up to a minute, and a database has few connections.
    """
    for each in connections.all(initialized_only=True):
        if not each.in_atomic_block:
            each.close()


class Room:
    """The open pages of a process. A page that was garbage-collected is no longer counted."""

    def __init__(self) -> None:
        self._pages: WeakSet[Page] = WeakSet()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._pages)

    def admit(self, page: Page, limit: int) -> bool:
        """Return whether there was room for `page`, of `limit` in all. Then it is in."""
        with self._lock:
            for each in tuple(self._pages):
                if each.is_overdue:  # a server holds its answer back: no timer runs yet
                    self._pages.discard(each)
            of_owner = sum(each.owner == page.owner for each in self._pages)
            if len(self._pages) >= limit or of_owner >= PER_USER:
                return False
            self._pages.add(page)
            return True

    def of_owner(self, owner: str) -> list[Page]:
        """Return the open pages of a user."""
        with self._lock:
            return [each for each in self._pages if each.owner == owner]

    def leave(self, page: Page) -> None:
        """Make room for another page."""
        with self._lock:
            self._pages.discard(page)


room = Room()
"""One for the process, as its bounds are: requests share nothing else. It has a lock of its own."""


@receiver(user_logged_out)
def _end_pages_of(sender: type | None, user: Any, **kwargs: Any) -> None:
    """End the streams of a user who logs out. Their other sessions begin new ones."""
    if user is not None:
        for page in room.of_owner(str(user.pk)):
            page.stop_soon()
