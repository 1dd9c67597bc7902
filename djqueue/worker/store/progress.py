"""How far the jobs of a worker's children have come, from the page into the results."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.db import DatabaseError

from djqueue.errors import QueueUnavailable
from djqueue.payload.links import links_of, may_be_linked
from djqueue.results import rows
from djqueue.worker.children.channel import WorkItem

if TYPE_CHECKING:
    from djqueue.runner.current import Reported
    from djqueue.worker.children.process import Process
    from djqueue.worker.store.access import StoreAccess

logger = logging.getLogger("djqueue.worker")

EVERY = 0.5
"""Seconds between two statements; each is about all children."""


class ProgressStore:
    """Stores what has changed. What cannot be stored now is stored later, or with the job's end."""

    def __init__(self, store: StoreAccess) -> None:
        self._store = store
        self._next_at = 0.0

    def look(self, processes: Sequence[Process], now: float) -> None:
        """Store what the children have reported since the last time, if it is time to."""
        if now < self._next_at:
            return
        changed = [
            (process, found)
            for process in processes
            if (found := process.slot.reported(process.progress_stored)) is not None
        ]
        alias = rows.store()
        if not changed or alias is None or not self._store.may_ask_sql(alias):
            return
        self._next_at = now + EVERY
        news: dict[str, Reported] = {}
        for process, found in changed:
            item = process.held.get(found.number)
            if isinstance(item, WorkItem) and _keeps_result(item.reservation.payload):
                news[item.reservation.id] = found.progress
        try:
            stored = not news or self._store.sql.ask(
                alias, lambda: rows.reported_unless_locked(alias, news)
            )
        except (QueueUnavailable, DatabaseError) as error:
            logger.info("The progress of jobs could not be stored: %s", error)
            stored = False
        if stored:
            for process, found in changed:
                process.progress_stored = found.version


def _keeps_result(payload: str) -> bool:
    return may_be_linked(payload) and links_of(payload).result
