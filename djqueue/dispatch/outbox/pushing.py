"""Pushing jobs that have rows in the outbox, with a result for each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from djqueue.dispatch.unique.keys import KeysTaken, push_all
from djqueue.errors import ConfigurationError, QueueUnavailable
from djqueue.runner.outcome import ErrorReport, report

if TYPE_CHECKING:
    from djqueue.drivers.base import Driver, OutgoingJob

    Push = Callable[[Sequence[OutgoingJob]], object]

__all__ = ["Pushed", "push"]


class Pushed(NamedTuple):
    """The result of a push, job by job."""

    stored: frozenset[str] = frozenset()
    refused: Mapping[str, ErrorReport] = {}
    """The jobs that the store will never take as they are, each with the reason."""
    kept_out: Mapping[str, str] = {}
    """The jobs whose unique keys other jobs have, and the ids of those."""
    error: QueueUnavailable | None = None
    """Why the remaining jobs are not stored; None where none remain."""


class _Misconfigured(QueueUnavailable):
    """One queue cannot be reached with these settings; others may be reachable."""


def push(driver: Driver, jobs: Sequence[OutgoingJob], patience: float) -> Pushed:
    """Push `jobs`; each call waits for at most `patience` seconds. An error of one job or of one
    queue does not hold up the others.
    """
    with driver.patient(patience):
        return _pushed(jobs, partial(push_all, driver))


def _pushed(jobs: Sequence[OutgoingJob], push: Push) -> Pushed:
    """Push `jobs`, and find out whether an error is about the store, one queue, or one job."""
    try:
        push(jobs)
    except KeysTaken as error:
        return Pushed(error.stored, kept_out=error.holders)
    except QueueUnavailable as error:
        there = error.stored.intersection(job.id for job in jobs)
        refused = {
            job.id: ErrorReport(_REFUSED, f"The store refuses this job: {reason}", "")
            for job in jobs
            if (reason := error.refused.get(job.id)) is not None
        }
        complete = len(there) + len(refused) == len(jobs)
        return Pushed(there, refused, error=None if complete else error)
    except ConfigurationError as error:
        queued = _by_queue(jobs)
        if len(queued) > 1:
            return _in_parts(queued, push)
        return Pushed(error=_Misconfigured(str(error), ambiguous=False))
    except Exception as error:  # noqa: BLE001 - an unexpected error must not hold up other jobs
        if len(jobs) > 1:
            return _in_parts([[job] for job in jobs], push)
        return Pushed(refused={jobs[0].id: report(error)})
    return Pushed(frozenset(job.id for job in jobs))


_REFUSED = "djqueue.errors.QueueUnavailable"


def _in_parts(parts: Sequence[Sequence[OutgoingJob]], push: Push) -> Pushed:
    stored: frozenset[str] = frozenset()
    refused: dict[str, ErrorReport] = {}
    kept_out: dict[str, str] = {}
    left: QueueUnavailable | None = None
    for part in parts:
        pushed = _pushed(part, push)
        stored |= pushed.stored
        refused.update(pushed.refused)
        kept_out.update(pushed.kept_out)
        left = pushed.error or left
        if pushed.error is not None and not isinstance(pushed.error, _Misconfigured):
            break  # the store itself is unavailable
    return Pushed(stored, refused, kept_out, left)


def _by_queue(jobs: Sequence[OutgoingJob]) -> list[list[OutgoingJob]]:
    queued: dict[str, list[OutgoingJob]] = {}
    for job in jobs:
        queued.setdefault(job.queue, []).append(job)
    return list(queued.values())
