"""The last step of a dispatch: pushing now, or when the open transactions have committed."""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import TYPE_CHECKING

from django.db import transaction

from djqueue.composition.chains import steps
from djqueue.conf import settings
from djqueue.dispatch.connections import queues
from djqueue.dispatch.inline import after_response, run_dispatched
from djqueue.dispatch.outbox import outbox
from djqueue.dispatch.outbox import rows as outbox_rows
from djqueue.dispatch.outbox.outbox import Written
from djqueue.dispatch.unique.here import running
from djqueue.dispatch.unique.keys import keeps_keys_in_sql
from djqueue.dispatch.unique.pushing import push_unique, write_unique
from djqueue.drivers import unique_keys
from djqueue.drivers.base import RunHere
from djqueue.drivers.slices import slices
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.results import rows as results
from djqueue.runner.current import CurrentJob
from djqueue.signals import announce, job_queued

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from djqueue.dispatch.outgoing import Plan, Sendable
    from djqueue.drivers.base import OutgoingJob

__all__ = ["Deferred", "announce_queued", "deferred_for", "send", "send_unannounced"]
__all__ += ["send_with_results"]

logger = logging.getLogger("djqueue")


_NONE: Mapping[str, str] = MappingProxyType({})


def send(connection: str, jobs: Sequence[Sendable], *, inline: bool) -> Mapping[str, str]:
    """Push `jobs` in order, or run them if the connection is inline. Errors reach the caller. All
    have unique keys or none has. Returns for each whose key another job has the id of that one.
    """
    if jobs[0].outgoing.unique is not None:
        store = _run_unique if inline else _store_unique
        return store(connection, jobs)
    here = (connection, jobs) if inline else _store(connection, jobs)
    if here is not None:
        _run(*here)
    return _NONE


def _store_unique(connection: str, jobs: Sequence[Sendable]) -> Mapping[str, str]:
    holders = push_unique(connection, [job.outgoing for job in jobs])
    announce_queued(connection, [job for job in jobs if job.outgoing.id not in holders])
    return holders


def _run_unique(connection: str, jobs: Sequence[Sendable]) -> Mapping[str, str]:
    """A job has its key while it runs, and only in this process."""
    holders: dict[str, str] = {}
    for job in jobs:
        with running(connection, job.outgoing) as holder:
            if holder is None:
                _run(connection, [job])
            else:
                holders[job.outgoing.id] = holder
    return holders


def send_unannounced(connection: str, jobs: Sequence[OutgoingJob]) -> None:
    """Do as `send` for a connection that is not inline, without the signal ``job_queued``."""
    try:
        queues[connection].driver.push(jobs)
    except RunHere as left:
        for job in jobs:
            if job.id not in left.stored:
                _run_one(left.connection, job)
    except QueueUnavailable as error:
        if not error.stored.issuperset(job.id for job in jobs):
            raise


def _store(connection: str, jobs: Sequence[Sendable]) -> tuple[str, list[Sendable]] | None:
    """Push and announce `jobs`. If a failover connection got to an inline member, return that
    member and the jobs to run there.
    """
    try:
        queues[connection].driver.push([job.outgoing for job in jobs])
    except QueueUnavailable as error:
        there = [job for job in jobs if job.outgoing.id in error.stored]
        announce_queued(connection, there)
        if isinstance(error, RunHere):
            return error.connection, [job for job in jobs if job.outgoing.id not in error.stored]
        if len(there) < len(jobs):
            raise
    else:
        announce_queued(connection, jobs)
    return None


def _run(connection: str, jobs: Sequence[Sendable]) -> None:
    for job in jobs:
        announce_queued(connection, (job,))
        _run_one(connection, job.outgoing)


def _run_one(connection: str, job: OutgoingJob) -> None:
    if queues[connection].driver.capabilities.after_response:
        after_response.run(job, connection)
    else:
        run_dispatched(job, connection)


def announce_queued(connection: str, jobs: Sequence[Sendable]) -> None:
    """Send the signal ``job_queued`` for each of `jobs`."""
    if not job_queued.receivers:
        return
    for outgoing, instance, plan, *_ in jobs:
        job = CurrentJob(outgoing.id, outgoing.name, outgoing.queue, connection, 0)
        job.instance = instance
        if plan.encrypts:
            job.is_encrypted = True
        announce(job_queued, type(instance), job=job, delay=outgoing.delay)


def send_with_results(plan: Plan, jobs: Sequence[Sendable]) -> Mapping[str, str]:
    """Do as `send`, with the rows of the jobs' results in one transaction. Jobs for other stores
    are written into the outbox there, and moved at once.
    """
    deferred = deferred_for(plan)
    for job in jobs:
        deferred.add(job)
    deferred.send()
    return deferred.holders


def deferred_for(plan: Plan) -> Deferred:
    """Return what keeps jobs with that plan until they are sent."""
    known = settings().results if plan.keeps_result else None
    return Deferred(
        plan.connection, inline=plan.inline, results_in=None if known is None else known.database
    )


class Deferred:
    """Jobs of one connection that wait for a commit."""

    def __init__(self, connection: str, *, inline: bool, results_in: str | None = None) -> None:
        """`results_in`: the database of their results, where these are kept."""
        self._connection = connection
        self._inline = inline
        self._results_in = results_in
        self._owner = "" if results_in is None else results.owner()
        self._begun = False
        """The rows of the results are written."""
        self._pushed = False
        """The jobs were pushed in the same transaction."""
        self._written: Written | None = None
        """Their rows in the outbox, if it has any."""
        self.jobs: dict[str, Sendable] = {}
        self.sent = False
        self.holders: Mapping[str, str] = _NONE
        """When they are sent: as what `send` returns."""
        self._keys_are_in_sql = keeps_keys_in_sql(queues[connection].driver)

    def add(self, job: Sendable) -> None:
        """Add a job that waits."""
        self.jobs[job.outgoing.id] = job

    def write_rows(self, aliases: Sequence[str]) -> None:
        """Record the waiting jobs in the outbox, inside the caller's transaction, so that a crash
        between commit and `publish` loses none, and the rows of their results. Does nothing where
        the connection has no outbox and keeps no results, or where `aliases` are several.
        """
        if self._results_in is not None:
            if set(aliases) <= {self._results_in}:
                self._begin(self._results_in)
            return
        alias = None if self._inline else outbox.alias_for(self._connection, aliases)
        jobs = [job.outgoing for job in self.jobs.values()]
        keyed = [job for job in jobs if job.unique and self._keys_are_in_sql]
        if alias is not None or (keyed and set(aliases) == {steps.store()}):
            self._written = Written(alias or steps.store(), self._connection)
            self._written.write([job for job in jobs if job not in keyed])
            self.holders = write_unique(self._written, self._connection, keyed) if keyed else _NONE
            for id in self.holders:
                del self.jobs[id]

    def discard(self, id: str) -> bool:
        """Drop a job before it is sent. Return whether it was still waiting."""
        job = self.jobs.pop(id, None)
        waited = job is not None
        if job is not None and self._written is not None:
            self._written.withdraw(id)
            if job.outgoing.unique is not None:
                unique_keys.free(steps.store(), id, job.outgoing.unique.key)
        if waited and self._begun:
            results.cancelled([id])
        return waited

    def send(self) -> None:
        """Send the jobs now. Errors reach the caller, but for that of a store whose jobs are safe
        in the outbox.
        """
        assert self._results_in is not None  # noqa: S101 - others need no rows before they are sent
        self._begin(self._results_in)
        jobs = list(self.jobs.values())
        here: tuple[str, Sequence[Sendable]] | None = (self._connection, jobs)
        try:
            if self._pushed or not self._inline:
                here = self._publish(jobs)
        except QueueUnavailable as error:
            if self._written is None:
                raise
            logger.warning(
                'Jobs for connection "%s" wait in the outbox, from where a worker will push them:'
                " %s",
                self._connection,
                error,
            )
            return
        if here is not None:
            _run(*here)

    def _begin(self, alias: str) -> None:
        """Write the rows of the results in one transaction with the jobs: they go into their store
        if that is in the same database, else into the outbox.
        """
        driver = queues[self._connection].driver
        jobs = list(self.jobs.values())
        outgoing = [job.outgoing for job in jobs]
        with transaction.atomic(using=alias):
            if driver.shares_transaction_with(alias):
                self._store(jobs)
                self._pushed = True
            queued = [job for job in outgoing if job.id not in self.holders]
            results.write(alias, self._connection, queued, self._owner)
            if self._pushed or any(job.unique for job in outgoing):
                pass  # a key is taken at the push
            elif driver.capabilities.keeps_jobs:
                self._written = Written(alias, self._connection)
                self._written.write(outgoing)
            elif not self._inline:
                results.cancelled([job.id for job in outgoing])
        self._begun = True

    def publish(self) -> None:
        """Send the waiting jobs."""
        jobs = list(self.jobs.values())
        self.jobs.clear()
        if not jobs:
            self.sent = bool(self.holders)
            return
        here: tuple[str, Sequence[Sendable]] | None = (self._connection, jobs)
        try:
            if self._results_in is not None and not self._begun:
                self.jobs = {job.outgoing.id: job for job in jobs}
                self._begin(self._results_in)
                self.jobs.clear()
            if self._pushed or not self._inline:
                here = self._publish(jobs)
        except Exception as error:  # raised again with the jobs' names; Django logs it
            raise self._not_sent(jobs, error) from error
        self.sent = True
        if here is not None and self._written is not None:
            self._run_written(self._written, *here)
        elif here is not None:
            _run(*here)

    def _publish(self, jobs: Sequence[Sendable]) -> tuple[str, list[Sendable]] | None:
        """Push the jobs, if they are not pushed. Returns as `_store`."""
        if self._pushed:
            return None
        if self._written is not None:
            return self._move(self._written, jobs)
        return self._store(jobs)

    def _store(self, jobs: Sequence[Sendable]) -> tuple[str, list[Sendable]] | None:
        unique = [job for job in jobs if job.outgoing.unique is not None]
        if unique:
            self.holders = _store_unique(self._connection, unique)
            if self._begun and self.holders:
                results.cancelled(list(self.holders))
        others = [job for job in jobs if job.outgoing.unique is None]
        return _store(self._connection, others) if others else None

    def _move(
        self, written: Written, jobs: Sequence[Sendable]
    ) -> tuple[str, list[Sendable]] | None:
        """Push the jobs that are in the outbox, a slice at a time. Returns as `_store`."""
        driver = queues[self._connection].driver
        here = None
        run: list[Sendable] = []
        stored: list[str] = []
        for some in slices(jobs, outbox_rows.AT_ONCE):
            moved = written.move([job.outgoing for job in some], driver)
            self.holders = {**self.holders, **moved.kept_out}
            announce_queued(
                self._connection, [job for job in some if job.outgoing.id in moved.stored]
            )
            if isinstance(moved.error, RunHere):
                here = moved.error.connection
                over = moved.stored | moved.refused.keys()
                run += [job for job in some if job.outgoing.id not in over]
            elif moved.error is not None:
                raise QueueUnavailable(str(moved.error), stored=[*stored, *moved.stored])
            stored += [job.outgoing.id for job in some]
        return None if here is None else (here, run)

    def _run_written(self, written: Written, connection: str, jobs: Sequence[Sendable]) -> None:
        """Run all of `jobs`, then raise the first error."""
        first: Exception | None = None
        for job in jobs:
            with written.running(job.outgoing.id) as ours:
                try:
                    if ours:
                        _run(connection, [job])
                except Exception as error:  # noqa: BLE001 - the job's error; the others still run
                    first = first or error
        if first is not None:
            raise first

    def _not_sent(self, jobs: Sequence[Sendable], error: Exception) -> QueueError:
        """Return the error for the log: after the commit no caller is left to catch it."""
        stored = error.stored if isinstance(error, QueueUnavailable) else ()
        left = [job.outgoing for job in jobs if job.outgoing.id not in stored]
        others = f" and {len(left) - 1:,} others" if len(left) > 1 else ""
        of = f" of {len(jobs):,} jobs" if len(left) < len(jobs) else ""
        hope = " A worker will push them from the outbox." if self._written is not None else ""
        return QueueError(
            f"The transaction was committed, but {left[0].name} {left[0].id}{others}{of} could not "
            f'be queued on connection "{self._connection}": {error}{hope}'
        )
