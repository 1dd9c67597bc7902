"""The store of failed jobs: what was given up, with all that is known about why.

A row has everything that running the job again needs. What operators do with the rows is in
`djqueue.operations.failed_jobs`.
"""

from __future__ import annotations

import socket
import uuid as uuids
from typing import TYPE_CHECKING, NamedTuple

from django.utils import timezone

from djqueue.compat import delete_rows
from djqueue.conf import settings
from djqueue.databases.fitting import fitting
from djqueue.drivers.slices import slices
from djqueue.errors import Unsupported
from djqueue.finish import failed_rows
from djqueue.finish.failed_rows import storable
from djqueue.payload.links import batches_of
from djqueue.text.tracebacks import with_token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db.models import QuerySet

    from djqueue.drivers.base import Reservation
    from djqueue.models import FailedJob
    from djqueue.runner.outcome import ErrorReport

__all__ = [
    "GivenUp",
    "record",
    "recorded",
    "storable",
    "store",
    "table",
    "take_back",
]

SLICE = 500


def store() -> str:
    """Return the alias of the database with the failed jobs. Raises `Unsupported` if none are
    kept.
    """
    alias = settings().failed_jobs
    if alias is None:
        raise Unsupported(
            'No failed jobs are kept: DJQUEUE["FAILED_JOBS"] is None. Set it to '
            '{"DATABASE": "default"} to keep those that fail from now on.'
        )
    return alias


class GivenUp(NamedTuple):
    """A job to be recorded as failed."""

    reservation: Reservation
    error: ErrorReport
    history: str
    fence: int = 0
    """The number of the reservation: `Session.fence`."""
    plain: bool = False
    """The row is made of ASCII alone, for a database that refused it as it is: its encoding may not
    have the characters. Payload and history still mean the same."""
    duration: float | None = None
    """Seconds of the last attempt; None where no attempt ended in this process's sight."""


def record(connection: str, jobs: Sequence[GivenUp]) -> None:
    """Keep jobs of a connection that are given up, as a part of whatever transaction is open.

    A job has one row: that of its latest reservation. Recorded under the same number again it is
    written again; what a reservation says that others have followed changes nothing. Does nothing
    where no failed jobs are kept.
    """
    alias = settings().failed_jobs
    if alias is not None:
        failed_rows.write(alias, [_row(alias, connection, job) for job in jobs])


def _row(alias: str, connection: str, job: GivenUp) -> FailedJob:
    from djqueue.models import FailedJob

    reservation, error = job.reservation, job.error
    text = failed_rows.ascii_only if job.plain else storable
    return FailedJob(
        uuid=_uuid(reservation.id),
        connection=text(connection)[:255],
        queue=text(reservation.queue)[:80],
        payload=fitting(text(reservation.payload), alias),
        exception=fitting(text(with_token(error.traceback, error.encrypted)), alias),
        failed_at=timezone.now(),
        name=text(reservation.name)[:255],
        attempts=min(reservation.attempt, 2**31 - 1),
        exception_class=text(error.class_name)[:255],
        exception_message=text(error.message)[:1000],
        fingerprint=error.fingerprint(storable(reservation.name)),
        history=fitting(text(job.history), alias),
        reservation=job.fence,
        batch_id=next(iter(batches_of([reservation.payload])), None),
        host=text(socket.gethostname())[:255] if job.duration else "",
        duration=job.duration or None,
    )


def recorded(fences: Mapping[str, int]) -> set[str]:
    """Return those of the jobs whose row was written by the reservation with that number."""
    numbers: dict[uuids.UUID, int] = {}
    for some in slices(list(fences), SLICE):
        rows = table().filter(uuid__in=[_uuid(id) for id in some])
        numbers.update(rows.values_list("uuid", "reservation"))
    return {job for job, number in fences.items() if numbers.get(_uuid(job)) == number}


def take_back(fences: Mapping[str, int]) -> int:
    """Delete the rows of jobs that turned out to be another worker's, if they were written by the
    reservations with these numbers. Return the number of rows. The jobs are still in their queues.
    """
    by_number: dict[int, list[str]] = {}
    for id, number in fences.items():
        by_number.setdefault(number, []).append(id)
    taken = 0
    for number, every in by_number.items():
        for some in slices(every, SLICE):
            rows = table().filter(uuid__in=[_uuid(id) for id in some], reservation=number)
            taken += delete_rows(rows)
    return taken


def _uuid(text: str) -> uuids.UUID:
    """Return a job's uuid, or one that is made from its id if a damaged payload has another kind of
    id.
    """
    try:
        return uuids.UUID(text)
    except ValueError:
        return uuids.uuid5(uuids.NAMESPACE_OID, storable(text))


def table() -> QuerySet[FailedJob]:
    """Return all failed jobs, for the ORM. Raises as `store`."""
    from djqueue.models import FailedJob

    return FailedJob.objects.using(store())
