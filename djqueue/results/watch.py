"""How the jobs of open pages stand: asked for all of them in one statement, at most twice a second,
in a thread of its own. A process has one watch for each event loop, while pages are open.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, Protocol
from weakref import WeakKeyDictionary, WeakSet

from django.core.serializers.json import DjangoJSONEncoder
from django.db import Error, connections

from djqueue.results import asking, rows

if TYPE_CHECKING:
    from djqueue.models import JobResult

__all__ = ["State", "Watch", "Watcher", "state_of", "state_or_unknown", "unknown"]

EVERY = 0.55
"""Seconds from an answer of the database to the next question: at most two in any second."""
AT_ONCE = 900, 10_000
"""Jobs in one statement, on SQLite and elsewhere. More than that take turns."""
NAME = "djqueue-watch"
"""Of the task, and of its thread."""

logger = logging.getLogger("djqueue")


class State(NamedTuple):
    """How a job stands, as pages hear of it."""

    text: str
    """JSON."""
    has_ended: bool
    owner: str | None = None
    """Who may hear it; None: every page that asked for it."""


def state_of(row: JobResult, status: asking.JobStatus | None = None) -> State:
    """Return how the job stands, from its row; before its end with that status."""
    from_row = asking.JobStatus.WAITING if row.done is None else asking.JobStatus.RUNNING
    known = asking.ended_as(row) or status or from_row
    return State(_text(asking.shown(row, known)), known in asking.FINAL, row.owner)


def state_or_unknown(row: JobResult) -> State:
    """Return the same of a row among others', to which it must do no harm."""
    try:
        return state_of(row)
    except Exception as error:  # noqa: BLE001 - whatever a row has in it, the others are shown
        logger.warning("The result of job %s could not be read: %r", row.pk, error)
        return unknown(str(row.pk))


def unknown(id: str) -> State:
    """Return the state of a job that there is not, at all or for this user."""
    return State(_text(asking.shown_unknown(id)), has_ended=True)


def _text(shown: Mapping[str, object]) -> str:
    return json.dumps(shown, cls=DjangoJSONEncoder)


def _ask(ids: Sequence[str]) -> dict[str, State]:
    """Return the states of jobs. It runs in the thread of the watch."""
    alias = rows.store()
    if alias is None:
        return {id: unknown(id) for id in ids}
    try:
        found = {str(row.pk): state_or_unknown(row) for row in rows.table(alias).filter(pk__in=ids)}
    except Error:
        connections[alias].close()  # the next question opens another
        raise
    return {id: found.get(id) or unknown(id) for id in ids}


class Watcher(Protocol):
    """A page that waits for news. Its methods are called on the event loop."""

    @property
    def waits_for(self) -> Collection[str]:
        """The ids of its jobs that have not ended."""

    def hear(self, id: str, state: State) -> None:
        """Take the state of a job, whether it is news or not."""

    def stop(self) -> None:
        """End, since the watch ends."""


class Watch:
    """Asks how the jobs of the open pages of an event loop stand, and tells the pages."""

    _of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = WeakKeyDictionary()
    """One for all pages of a loop, whichever request opened them. A loop that is gone has none."""

    @classmethod
    def here(cls) -> Watch:
        """Return the watch of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in cls._of_loops:
            cls._of_loops[loop] = cls()
        return cls._of_loops[loop]

    def __init__(self) -> None:
        self._pages: dict[str, WeakSet[Watcher]] = {}
        """Those that wait for a job, by its id. A page that was dropped waits no longer."""
        self._task: asyncio.Task[None] | None = None
        self._answered_at = 0.0
        self._is_away = False
        self._thread = ThreadPoolExecutor(1, NAME)

    def add(self, page: Watcher) -> None:
        """Watch the jobs of a page."""
        for id in page.waits_for:
            self._pages.setdefault(id, WeakSet()).add(page)
        if self._pages and self._task is None:
            # The context of the request that begins it is not that of the other pages.
            empty = contextvars.Context()
            self._task = empty.run(asyncio.create_task, self._run(), name=NAME)

    def remove(self, page: Watcher) -> None:
        """Watch them for this page no longer."""
        for id in page.waits_for:
            if id in self._pages:
                self._pages[id].discard(page)

    async def _run(self) -> None:
        try:
            while self._prune():
                # Counted from the last answer, also of a run before this one.
                await asyncio.sleep(max(0.0, self._answered_at + EVERY - time.monotonic()))
                await self._look(self._turn())
                self._answered_at = time.monotonic()
        finally:
            self._thread.submit(connections.close_all)
            for pages in self._pages.values():
                for page in pages:
                    page.stop()
            self._pages.clear()
            self._task = None

    def _prune(self) -> bool:
        """Drop the jobs that no page waits for. Return whether any are left."""
        self._pages = {id: pages for id, pages in self._pages.items() if pages}
        return bool(self._pages)

    def _turn(self) -> list[str]:
        """Return the jobs to ask for, and let them be the last ones next time."""
        alias = rows.store()
        at_once = AT_ONCE[alias is not None and connections[alias].vendor != "sqlite"]
        ids = list(self._pages)[:at_once]
        if len(self._pages) > len(ids):
            for id in ids:
                self._pages[id] = self._pages.pop(id)
        return ids

    async def _look(self, ids: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        try:
            states = await loop.run_in_executor(self._thread, _ask, ids)
        except Error as error:
            if not self._is_away:
                logger.warning("Open pages wait: the results could not be read: %s", error)
            self._is_away = True
            return
        self._is_away = False
        for id, state in states.items():
            for page in tuple(self._pages.get(id, ())):
                page.hear(id, state)
                if id not in page.waits_for:
                    self._pages[id].discard(page)
