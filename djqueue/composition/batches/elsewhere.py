"""Delayed members of batches in stores that are not the database of the batches. Guard rows name
them, so that they can be removed there when their batch is cancelled. Other members need none: they
end without being run when their turn comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from djqueue.composition import removing
from djqueue.databases.now import UtcNow
from djqueue.dispatch.connections import queues
from djqueue.drivers.base import Change, State

if TYPE_CHECKING:
    from djqueue.dispatch.connections import QueueConnection
    from djqueue.drivers.base import Driver, OutgoingJob, StoredJob

__all__ = ["note", "remove"]

PAGE = 500


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
            )
            for job in delayed
        ]
        Run.objects.using(alias).bulk_create(rows, batch_size=PAGE // 5)


def remove(alias: str, batch: str) -> Iterator[int]:
    """Remove the members of a batch that wait in other stores, a page at a time. Yields the number
    of each page.
    """
    from djqueue.models import Run

    rows = Run.objects.using(alias).filter(batch_id=batch, ended=False).order_by("uuid")
    left = rows
    while page := [str(id) for id in left.values_list("uuid", flat=True)[:PAGE]]:
        yield sum(_remove(connection, page) for connection in _stores(alias))
        left = rows.filter(uuid__gt=page[-1])


def _remove(connection: QueueConnection, ids: Sequence[str]) -> int:
    waiting = [
        job for job in connection.inspector.find(ids) if job.state in (State.WAITING, State.DELAYED)
    ]
    waiting.sort(key=_queue)
    return sum(
        len(
            removing.change(
                connection.driver, Change.DELETE, queue, {j.key or j.id: "" for j in some}
            )
        )
        for queue, some in groupby(waiting, key=_queue)
    )


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
