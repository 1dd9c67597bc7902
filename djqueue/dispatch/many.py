"""`dispatch_many`: any number of jobs, in bounded memory."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from djqueue import context
from djqueue.dispatch.commits import aliases_to_wait_for, when_all_commit
from djqueue.dispatch.connections import queues
from djqueue.dispatch.dispatch import prepare_as, refuse_event_loop
from djqueue.dispatch.large import shrink, store_bodies
from djqueue.dispatch.outbox.debouncing import debounce, with_wish
from djqueue.dispatch.outgoing import Sendable
from djqueue.dispatch.recording import recorders
from djqueue.dispatch.sending import deferred_for, send, send_unannounced, send_with_results
from djqueue.dispatch.unique.keys import with_key
from djqueue.drivers.slices import slices
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.jobs.definition.spec import spec_of
from djqueue.payload.ids import Moment
from djqueue.signals import job_queued
from djqueue.tracing.dispatching import sending

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from djqueue.dispatch.outgoing import Plan
    from djqueue.dispatch.recording import Recorder
    from djqueue.dispatch.sending import Deferred
    from djqueue.drivers.base import OutgoingJob
    from djqueue.jobs.definition.spec import JobInstance

__all__ = ["CHUNK", "MOST_DEFERRED", "adispatch_many", "dispatch_many"]

CHUNK = 1_000
MOST_DEFERRED = 10_000


def dispatch_many(jobs: Iterable[JobInstance]) -> int:
    """Queue all of `jobs`, 1,000 at a time, and return their number, without the unique ones that
    were there already, and without debounced ones that have replaced others.

    Each chunk is taken from the iterable and checked as a whole before any of it is written.
    Earlier chunks stay queued when a later one is refused; wrap the call in ``atomic()`` for all or
    none. Jobs that wait for a commit wait in memory, at most 10,000 of them.
    """
    refuse_event_loop("dispatch_many()", "await adispatch_many(jobs), or sync_to_async")
    with sending() as span:
        count = _dispatch_many(jobs)
        span.tell(count=count)
    return count


def _dispatch_many(jobs: Iterable[JobInstance]) -> int:
    carried = context.stored()
    waiting = _Waiting()
    count = kept_out = 0
    # A whole chunk before any write: the iterable may be a query on the connection that writes.
    for chunk in slices(jobs, CHUNK):
        size = len(chunk)
        groups = _by_connection(chunk, carried)
        for group in groups:
            try:
                kept_out += group.send(waiting)
            except QueueUnavailable as error:
                raise _broke_off(error, count, groups, group) from error
        count += size
    waiting.start()
    return count - kept_out


async def adispatch_many(jobs: Iterable[JobInstance]) -> int:
    """`dispatch_many` for coroutines, on the thread that Django's ORM uses for them."""
    count: int = await sync_to_async(dispatch_many)(jobs)
    return count


def _broke_off(
    error: QueueUnavailable, before: int, groups: Collection[_Group], broken: _Group
) -> QueueUnavailable:
    """Return the error of a chunk, with the numbers of all jobs that are not queued."""
    queued = set(error.stored)
    for group in groups:
        if group is broken:
            break
        queued.update(group.queued)
    ids = sorted(id for group in groups for id in group.ids)  # as they were given
    missing = [before + at for at, id in enumerate(ids, 1) if id not in queued]
    return QueueUnavailable(
        f"{error} {_listed(missing)} of what dispatch_many() was given "
        f"{'is' if len(missing) == 1 else 'are'} not queued{_DOUBT if error.ambiguous else ''}, "
        f"and nothing after number {before + len(ids):,} is; the others are.",
        ambiguous=error.ambiguous,
        stored=queued,
        refused=error.refused,
    )


_DOUBT = " (as far as is known; the store may have them)"


def _listed(numbers: Sequence[int], most: int = 10) -> str:
    """Return numbers of jobs in words, as ranges."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    shown = [f"{a:,}" if a == b else f"{a:,} to {b:,}" for a, b in ranges[:most]]
    more = sum(b - a + 1 for a, b in ranges[most:])
    named = ", ".join(shown) + (f" and {more:,} more" if more else "")
    return f"Number {named}" if len(numbers) == 1 else f"Numbers {named}"


class _Group:
    """The jobs of a chunk that go to one connection, in order."""

    def __init__(self, plan: Plan, recorder: Recorder | None) -> None:
        self._plan = plan
        driver = queues[plan.connection].driver
        self._aliases = aliases_to_wait_for(driver) if plan.after_commit else []
        self._recorder = recorder
        self._keeps_all = bool(
            self._aliases
            or plan.inline
            or plan.unique
            or plan.debounces
            or plan.keeps_result
            or self._recorder
            or job_queued.receivers
        )
        self._jobs: list[Sendable] = []
        """All jobs; or, where the instances of the others are not needed, those with a body. Fewer
        objects for the garbage collector, which takes as long as encoding them."""
        self._outgoing: list[OutgoingJob] = []

    @property
    def ids(self) -> list[str]:
        """The ids of its jobs."""
        return [job.id for job in self._outgoing or [job.outgoing for job in self._jobs]]

    @property
    def queued(self) -> list[str]:
        """The ids of the jobs that `send` puts into a store: none where they wait for a commit."""
        return [] if self._aliases or self._recorder is not None else self.ids

    def add(self, job: Sendable) -> None:
        """Add `job`, made small enough for the store."""
        fits = len(job.outgoing.payload) <= job.plan.fits or job.plan.debounces
        sent = job if fits else shrink(job)
        if self._keeps_all:
            self._jobs.append(sent if self._recorder is None else job)
            return
        self._outgoing.append(sent.outgoing)
        if sent.body is not None:
            self._jobs.append(sent)

    def send(self, waiting: _Waiting) -> int:
        """Push the jobs, or hand them to `waiting` until the commit. Returns how many of them are
        not queued, since other jobs have their unique keys.
        """
        connection, inline = self._plan.connection, self._plan.inline
        if self._recorder is not None:
            return sum(self._recorder.record(job).created is False for job in self._jobs)
        if self._plan.debounces:
            return len(debounce(self._jobs).holders)
        ready = store_bodies(connection, self._jobs, waits=bool(self._aliases))
        if self._aliases:
            waiting.add(self._plan, self._aliases, ready)
        elif self._plan.keeps_result:
            return len(send_with_results(self._plan, ready))
        elif self._keeps_all:
            return len(send(connection, ready, inline=inline))
        else:
            send_unannounced(connection, self._outgoing)
        return 0


class _Waiting:
    """Jobs that wait for a commit. `start` registers them all together, so that a refusal in the
    middle of the iterable leaves none behind.
    """

    def __init__(self) -> None:
        self._count = 0
        self._deferred: dict[tuple[str, bool, tuple[str, ...]], Deferred] = {}

    def add(self, plan: Plan, aliases: list[str], jobs: Sequence[Sendable]) -> None:
        self._count += len(jobs)
        if self._count > MOST_DEFERRED:
            raise QueueError(
                f"dispatch_many() has more than {MOST_DEFERRED:,} jobs for connection "
                f'"{plan.connection}" '
                f"that would wait in memory for the commit on {', '.join(aliases)}. Call it after "
                "the transaction, in smaller parts, or with jobs that are "
                "using(after_commit=False). None of the waiting ones was queued."
            )
        key = (plan.connection, plan.keeps_result, tuple(aliases))
        deferred = self._deferred.setdefault(key, deferred_for(plan))
        for job in jobs:
            deferred.add(job)

    def start(self) -> None:
        for (*_, aliases), deferred in self._deferred.items():
            deferred.write_rows(aliases)
            when_all_commit(list(aliases), deferred.publish)


def _by_connection(chunk: list[JobInstance], carried: str) -> Collection[_Group]:
    """Take the jobs from `chunk` and encode them."""
    groups: dict[Any, _Group] = {}
    recorded = recorders.innermost is not None
    recorder: Recorder | None = None
    moment = Moment(time_ns())
    plan, group = None, None
    chunk.reverse()
    for id in moment.ids(len(chunk)):
        job = chunk.pop()
        spec = spec_of(job)
        sendable = prepare_as(job, spec, moment, id, carried)
        if group is None or sendable.plan is not plan:
            plan = sendable.plan
            # Recorded jobs are not sent: one group keeps their order.
            recorder = recorders.taking(job) if recorded else None
            kinds = (plan.after_commit, plan.unique, plan.keeps_result, plan.debounces)
            key = recorder or (plan.connection, *kinds)
            group = groups.get(key) or groups.setdefault(key, _Group(plan, recorder))
        if plan.unique:
            sendable = with_key(sendable, spec)
        elif plan.debounces:
            sendable = with_wish(sendable, spec)
        group.add(sendable)
    return groups.values()
