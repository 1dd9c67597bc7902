"""Announcing ends that are stored, in a process that may run the project's code."""

from __future__ import annotations

from djqueue.finish.notices import Announcement, Cancelled, Failed, Succeeded
from djqueue.payload.payload import limits_of
from djqueue.runner.current import CurrentJob
from djqueue.runner.encrypted.errors import revealed
from djqueue.runner.outcome import exception_of
from djqueue.runner.telling import Teller


def announce(
    notice: Announcement, teller: Teller, connection: str, raised: BaseException | None = None
) -> bool:
    """Call ``failed()`` and send signals. Return whether this process must not be used again.
    `raised` is the exception of the job if this process still has it; else it is made again from
    the stored report. Of an encrypted job only ``failed()`` gets the words of either.
    """
    if isinstance(notice, Succeeded):
        for id, name, queue, attempt, duration, carried in notice.jobs:
            job = CurrentJob(id, name, queue, connection, attempt)
            teller.succeeded(job, duration, carried)
        return False
    if isinstance(notice, Cancelled):
        job = CurrentJob(notice.id, notice.name, notice.queue, connection, notice.attempt)
        teller.cancelled(job, notice.context)
        return False
    error, described = raised, notice.error
    hides = described is not None and (
        bool(described.encrypted) or limits_of(notice.reservation.payload).encrypted
    )
    if described is not None and (hides or error is None):
        error = exception_of(described)
    if isinstance(notice, Failed):
        assert error is not None  # noqa: S101 - a failure always has one
        own = error
        if hides:
            own = raised or exception_of(revealed(notice.error, notice.reservation))
        return teller.failed(notice.reservation, error, own, unseen=notice.unseen)
    teller.released(notice.reservation, error, notice.delay, unseen=notice.unseen)
    return False
