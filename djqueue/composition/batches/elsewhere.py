"""Jobs in stores that are not the database of what they are bound to.

Guard rows name delayed members of batches, so that they can be removed there when their batch is
cancelled. Other members need none: they end without being run when their turn comes. Guard rows
also name the bound jobs that a process is about to remove.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Q

from djqueue.composition import removing
from djqueue.composition.batches import counting
from djqueue.composition.chains import steps
from djqueue.conf import settings
from djqueue.databases.now import UtcNow
from djqueue.dispatch.connections import driver_of, queues
from djqueue.drivers.base import Change, State
from djqueue.drivers.guard.ends import removing_from
from djqueue.errors import QueueUnavailable
from djqueue.payload.links import Links, links_of, read_links, stored_links

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.dispatch.connections import QueueConnection
    from djqueue.drivers.base import Driver, OutgoingJob, StoredJob
    from djqueue.models import Run

    _Found = Sequence[tuple[QueueConnection, Sequence[StoredJob]]]

__all__ = ["end_removed", "note", "remove"]

PAGE = 500
UNFINISHED = timedelta(minutes=1)
"""A removal that began so long ago, and has not ended, was interrupted."""
LEFT_OVER = timedelta(days=1)
"""After that time the connection is known to no worker: it was renamed, or is not used any more."""
logger = logging.getLogger("djqueue")


def note(alias: str, driver: Driver, jobs: Sequence[OutgoingJob]) -> None:
    """Write the rows of members that are about to go to the store of `driver`, as a part of the
    open transaction of `alias`: of those that are delayed, where the store finds them by their ids.
    """
    from djqueue.models import Run

    delayed = [job for job in jobs if job.delay and job.batch]
    if delayed and _finds(driver):
        rows = [
            Run(
                uuid=job.id,
                batch_id=job.batch,
                updated_at=UtcNow(),
                keep_until=UtcNow() + timedelta(seconds=job.delay),
                push_id="",
                history=_kept_of(job),
            )
            for job in delayed
        ]
        Run.objects.using(alias).bulk_create(rows, batch_size=PAGE // 5)


def _kept_of(job: OutgoingJob) -> str:
    """Return the links of a step of a chain; nothing for a job that is a member and no more."""
    links = links_of(job.payload)
    return json.dumps(stored_links(links)) if links.chain else ""


def remove(alias: str, batch: str) -> Iterator[int]:
    """Remove the members of a batch that wait in other stores, a page at a time. Yields the number
    of each page. Those in a store that does not answer stay.
    """
    left = _on_record(alias).filter(batch_id=batch).order_by("uuid")
    stores = _Stores(alias)
    while page := [str(id) for id in left.values_list("uuid", flat=True)[:PAGE]]:
        # Those that wait are removed, and those that are nowhere end: a process may have died when
        # it had removed them from their store, and a store may have lost them.
        found, lost = stores.look_for(page)
        yield stores.remove_waiting(found) + _end_lost(alias, lost)
        left = left.filter(uuid__gt=page[-1])


def end_removed() -> None:
    """End the jobs that processes have removed from other stores before they died, and forget that
    they meant to where they had not. Those of a connection that only others know are left to them
    for a day. While a store does not answer, nothing ends.
    """
    alias = steps.store()
    stores = _Stores(alias)
    known = [removing_from(each.name) for each in stores.asked]
    here = Q(held_as__in=known, updated_at__lt=UtcNow() - UNFINISHED)
    left_over = Q(held_as__startswith=removing_from(""), updated_at__lt=UtcNow() - LEFT_OVER)
    begun = _on_record(alias).filter(here | left_over, batch_id__isnull=False).order_by("uuid")
    left = begun
    while page := [str(id) for id in left.values_list("uuid", flat=True)[:PAGE]]:
        found, lost = stores.look_for(page)
        _end_lost(alias, lost)
        sure = [job.id for _, jobs in found for job in jobs] if stores.silent else page
        begun.filter(pk__in=sure).order_by().update(held_as="")
        left = left.filter(uuid__gt=page[-1])


class _Stores:
    """The other stores, as long as they answer."""

    def __init__(self, alias: str) -> None:
        self.asked = _stores(alias)
        self.silent = False
        """Whether one did not answer. It is not asked again."""

    def look_for(self, ids: Sequence[str]) -> tuple[_Found, set[str]]:
        """Return what the stores have of these jobs, and the ids of those that are nowhere: none if
        a store did not answer.
        """
        # The outbox is asked before the stores, as jobs go from there to them; and after them, as
        # an operator may move a job from one store to another. What has left the outbox between
        # these two looks has another push: it is noted that the one of this row has ended.
        # A worker notes the end of a job before it removes it from its store.
        lost = set(ids) - _in_outbox(ids)
        found: list[tuple[QueueConnection, Sequence[StoredJob]]] = []
        for connection in list(self.asked):
            try:
                found.append((connection, connection.inspector.find(ids)))
            except QueueUnavailable as error:
                self._note_silent(connection, error)
        if self.silent:
            return found, set()
        lost -= {job.id for _, jobs in found for job in jobs}
        return found, lost - _in_outbox(lost) if lost else lost

    def remove_waiting(self, found: _Found) -> int:
        """Remove the jobs that wait. Return their number."""
        removed = 0
        for connection, jobs in found:
            try:
                removed += _remove_waiting(connection, jobs)
            except QueueUnavailable as error:
                self._note_silent(connection, error)
        return removed

    def _note_silent(self, connection: QueueConnection, error: QueueUnavailable) -> None:
        self.silent = True
        self.asked.remove(connection)
        logger.info("Jobs of connection %s are left to the next time: %s", connection.name, error)


def _remove_waiting(connection: QueueConnection, found: Sequence[StoredJob]) -> int:
    waiting = [job for job in found if job.state in (State.WAITING, State.DELAYED)]
    waiting.sort(key=_queue)
    return sum(
        len(
            removing.change(
                connection.driver, Change.DELETE, queue, {j.key or j.id: "" for j in some}
            )
        )
        for queue, some in groupby(waiting, key=_queue)
    )


def _in_outbox(ids: Collection[str]) -> set[str]:
    from djqueue.models import Outbox

    rows = (Outbox.objects.using(each).filter(uuid__in=ids) for each in settings().databases)
    return {str(id) for each in rows for id in each.values_list("uuid", flat=True)}


def _end_lost(alias: str, ids: Collection[str]) -> int:
    """End the jobs with these ids, unless that is noted by now. Return their number."""
    if not ids:
        return 0
    with transaction.atomic(using=alias):
        counting.lock_all(alias, "")
        rows = _on_record(alias).filter(pk__in=ids)
        locked = rows.order_by("uuid").select_for_update()
        found = locked.values_list("uuid", "history", "batch_id")
        lost = {str(id): _links(text, batch or "") for id, text, batch in found}
        rows.filter(pk__in=list(lost)).update(ended=True, updated_at=UtcNow())
        removing.write_lost(alias, lost, driver_of)
    return len(lost)


def _links(text: str, batch: str) -> Links:
    return read_links(json.loads(text)) if text else Links(batch=batch)


def _on_record(alias: str) -> QuerySet[Run]:
    from djqueue.models import Run

    return Run.objects.using(alias).filter(ended=False)


def _queue(job: StoredJob) -> str:
    return job.queue


def _stores(alias: str) -> list[QueueConnection]:
    every = list(map(queues.__getitem__, queues))
    return [
        each
        for each in every
        if _finds(each.driver) and not each.driver.shares_transaction_with(alias)
    ]


def _finds(driver: Driver) -> bool:
    can = driver.capabilities
    return can.keeps_jobs and not driver.members and can.why_not("find") is None
