"""Running a stored or failed job once more: a copy on its queue, or here, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from djqueue.conf import settings
from djqueue.context import without
from djqueue.dispatch.connections import queues
from djqueue.dispatch.dispatch import dispatch
from djqueue.drivers.base import Reservation
from djqueue.errors import JobNotFound, Unsupported
from djqueue.jobs import registry
from djqueue.operations import failed_jobs, selection
from djqueue.operations.verbs.retried_job import with_retry_until
from djqueue.payload import payload
from djqueue.payload import store as payload_store
from djqueue.payload.links import NO_LINKS, may_be_linked, with_links
from djqueue.runner.outcome import Outcome
from djqueue.runner.rules import Rules
from djqueue.runner.runner import Runner
from djqueue.text.short_ids import digits

if TYPE_CHECKING:
    from djqueue.dispatch.dispatched import DispatchedJob
    from djqueue.jobs.job import Job

__all__ = ["Found", "Replayed", "copy", "find", "replay"]


class Found(NamedTuple):
    """A job and its payload."""

    id: str
    name: str
    connection: str
    queue: str
    payload: str
    failed: bool
    """It is a failed job; else it is in its store."""


class Replayed(NamedTuple):
    """What became of a job that ran here."""

    outcome: Outcome
    value: Any
    error: BaseException | None
    """What it raised, with its traceback."""
    hides: bool
    """The job is encrypted: neither is to be shown."""


def find(text: str, connection: str | None = None) -> Found:
    """Return the stored or failed job whose id is `text`, or begins or ends with it. Raises
    `JobNotFound`, also for a part of the ids of a stored and a failed job.
    """
    try:
        name, job = selection.locate(text, connection)
    except JobNotFound as error:
        try:
            row = failed_jobs.find(text)
        except (JobNotFound, Unsupported):
            raise error from None
        place = (row.connection, row.queue, row.payload)
        return Found(str(row.uuid), row.name, *place, failed=True)
    failed = failed_jobs.fitting(digits(text)) if settings().failed_jobs is not None else []
    if others := [str(row.uuid) for row in failed if str(row.uuid) != job.id]:
        raise failed_jobs.not_found("job", text, [job.id, *others])
    return Found(job.id, job.name, name, job.queue, job.payload, failed=False)


def copy(found: Found) -> DispatchedJob[Any]:
    """Dispatch a job of the same class with the same arguments, to the same queue, under an id of
    its own. It is no step of a chain and no member of a batch. Raises `Unsupported` where the copy
    of an encrypted job would be stored in plain.
    """
    spec = registry.find(found.name)
    read = payload_store.unpacked(payload.decode(found.payload))
    if read.head.limits.encrypted and not spec.options.encrypted:
        raise Unsupported(
            f"This job is encrypted, and {spec.name} is not any more: a copy would be stored in"
            " plain. Give the class encrypted=True, or retry the job when it has failed."
        )
    job = cast("Job", spec.load(read.arguments))
    return dispatch(job.using(connection=found.connection, queue=found.queue))


def replay(found: Found) -> Replayed:
    """Run a job in this process, with its arguments and middleware. What is stored stays as it is:
    no attempt is counted, nothing follows from its end, and ``failed()`` is not called.
    """
    text = with_retry_until(found.payload, None)
    if may_be_linked(text):
        text = with_links(text, NO_LINKS)
    queues[found.connection]  # an unknown connection is an error before anything runs
    runner = Runner(found.connection, Rules(unknown_grace=0, timeout=0))
    runner.teller.logs = False
    reservation = Reservation(found.id, found.queue, found.name, text, 1, 0, "", None)
    attempt = runner.attempt(reservation)
    outcome: Outcome = without(lambda: runner.run(attempt))
    return Replayed(outcome, attempt.value, attempt.error, attempt.hides)
