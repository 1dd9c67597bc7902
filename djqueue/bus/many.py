"""`dispatch_many`: any number of jobs in bounded memory."""

from __future__ import annotations

from itertools import groupby, islice
from operator import attrgetter
from time import time_ns
from typing import TYPE_CHECKING, Any

from djqueue.bus.connections import queues
from djqueue.bus.dispatching import prepare_as, refuse_event_loop
from djqueue.bus.ids import Moment
from djqueue.bus.large import fitted, put_aside
from djqueue.bus.recording import recorders
from djqueue.bus.sending import Deferred, Sendable, send
from djqueue.bus.transactions import aliases_to_wait_for, when_all_commit
from djqueue.errors import QueueError
from djqueue.jobs.spec import spec_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from djqueue.jobs.base import Job

__all__ = ["CHUNK", "MOST_DEFERRED", "dispatch_many"]

CHUNK = 1_000
MOST_DEFERRED = 10_000


def dispatch_many(jobs: Iterable[Job]) -> int:
    """Queue all of `jobs`, 1,000 at a time; how many there were.

    Each chunk is taken from the iterable and checked as a whole before any of it is written, and
    earlier chunks stay queued when a later one is refused: wrap the call in ``atomic()`` for all
    or none. Jobs that have to wait for a commit wait in memory, at most 10,000 of them.
    """
    refuse_event_loop("dispatch_many()", "await sync_to_async(dispatch_many)(jobs)")
    waiting = _Waiting()
    count = 0
    for chunk in _chunks(iter(jobs)):
        count += len(chunk)
        checked = [
            job if len(job.outgoing.payload) <= job.plan.fits else fitted(job) for job in chunk
        ]
        if (recorder := recorders.innermost) is not None:
            for job in chunk:
                recorder.record(job)
            continue
        for (connection, after_commit, inline), group in _by_connection(checked):
            aliases = aliases_to_wait_for(queues[connection].driver) if after_commit else []
            ready = put_aside(connection, group, waits=bool(aliases))
            if aliases:
                waiting.add(connection, inline, aliases, ready)
            else:
                send(connection, ready, inline=inline)
    waiting.start()
    return count


class _Waiting:
    """Jobs for after the commit. Nothing is registered before all are there: a refusal in the
    middle leaves none behind.
    """

    def __init__(self) -> None:
        self._count = 0
        self._deferred: dict[tuple[str, tuple[str, ...]], Deferred] = {}

    def add(
        self, connection: str, inline: bool, aliases: list[str], jobs: Sequence[Sendable]
    ) -> None:
        self._count += len(jobs)
        if self._count > MOST_DEFERRED:
            raise QueueError(
                f"dispatch_many() has more than {MOST_DEFERRED:,} jobs for connection "
                f'"{connection}" '
                f"that would wait in memory for the commit on {', '.join(aliases)}. Call it after "
                "the transaction, in smaller parts, or with jobs that are "
                "using(after_commit=False). None of the waiting ones was queued."
            )
        key = (connection, tuple(aliases))
        deferred = self._deferred.setdefault(key, Deferred(connection, inline=inline))
        for job in jobs:
            deferred.add(job)

    def start(self) -> None:
        for (_, aliases), deferred in self._deferred.items():
            deferred.keep(aliases)
            when_all_commit(list(aliases), deferred.publish)


def _chunks(jobs: Iterator[Job]) -> Iterator[list[Sendable]]:
    # Taken before anything is written: the iterable may be a query on the connection that writes.
    while taken := list(islice(jobs, CHUNK)):
        moment = Moment(time_ns())
        ids = moment.ids(len(taken))
        yield [
            prepare_as(job, spec_of(job), moment, id) for job, id in zip(taken, ids, strict=True)
        ]


def _by_connection(chunk: list[Sendable]) -> Iterable[tuple[Any, list[Sendable]]]:
    groups: dict[tuple[str, bool, bool], list[Sendable]] = {}
    for plan, some in groupby(chunk, attrgetter("plan")):
        key = (plan.connection, plan.after_commit, plan.inline)
        groups.setdefault(key, []).extend(some)
    return groups.items()
