"""Debounced jobs at their dispatch: they are written into the outbox, each in place of the one that
waits with its key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from django.db import DatabaseError, transaction

from djqueue.composition.chains import steps
from djqueue.databases.transactions import open_aliases
from djqueue.dispatch.commits import when_all_commit
from djqueue.dispatch.connections import queues
from djqueue.dispatch.large import shrunk
from djqueue.dispatch.sending import announce_queued
from djqueue.drivers import debounced
from djqueue.drivers.debounced import Wish
from djqueue.errors import InvalidJob, QueueUnavailable, Unsupported
from djqueue.payload.links import Links, with_step
from djqueue.results import rows as results

if TYPE_CHECKING:
    from djqueue.dispatch.outgoing import Sendable
    from djqueue.jobs.definition.spec import JobSpec

__all__ = ["Debouncing", "debounce", "with_wish"]


def with_wish(job: Sendable, spec: JobSpec) -> Sendable:
    """Return `job` with its key and how long it is to wait. Raises `InvalidJob` for a delay, and
    `Unsupported` where several stores may get the job.
    """
    seconds = spec.options.debounce
    assert seconds is not None  # noqa: S101 - its plan says so
    if job.outgoing.delay:
        raise InvalidJob(
            f"{spec.name} has debounce={seconds:g}, which decides when it runs, and "
            f"using(delay=…) asks for {job.outgoing.delay:g} s. Drop the delay, or dispatch another"
            " job. Nothing was queued."
        )
    connection = queues[job.plan.connection]
    if connection.members != (connection.name,):
        raise Unsupported(
            f'Connection "{connection.name}" cannot debounce jobs, since several connections may'
            f" get them: {spec.name} was not queued. Dispatch it to one of them:"
            f" {', '.join(connection.members)}."
        )
    return job._replace(wish=Wish(spec.debounce_key(job.instance), seconds, spec.options.max_wait))


def debounce(jobs: Sequence[Sendable]) -> Debouncing:
    """Let jobs of one connection wait: now, or when the transactions that are open have committed,
    where one of them is not that of the outbox.
    """
    dispatch = Debouncing(jobs)
    plan = jobs[0].plan
    others = [each for each in open_aliases() if each != steps.store()] if plan.after_commit else []
    if others:
        when_all_commit(others, dispatch.publish)
    else:
        dispatch.write()
    return dispatch


class Debouncing:
    """Debounced jobs of one connection. Of several with one key the last one counts."""

    def __init__(self, jobs: Sequence[Sendable]) -> None:
        self._connection = jobs[0].plan.connection
        self._jobs = {job.outgoing.id: _ready(job) for job in jobs}
        self._owner = results.owner()
        self.sent = False
        """They wait, or are part of an open transaction."""
        self.holders: Mapping[str, str] = {}
        """For each that was dispatched in place of another, the id of the one that waits."""

    def discard(self, id: str) -> bool:
        """Drop a job before it is written. Return whether it was still there."""
        return not self.sent and self._jobs.pop(id, None) is not None

    def publish(self) -> None:
        """Write those of the jobs that were not dropped."""
        if self._jobs:
            self.write()

    def write(self) -> None:
        """Write the jobs, all or none. Raises `QueueUnavailable`."""
        last = {_key(job): job for job in self._jobs.values()}
        alias = steps.store()
        try:
            with transaction.atomic(using=alias):
                # In one order, or two dispatches with several keys wait for each other.
                waiting = {key: self._put(alias, last[key]) for key in sorted(last)}
        except DatabaseError as error:
            raise QueueUnavailable(
                f'Database "{alias}" could not keep debounced jobs for connection '
                f'"{self._connection}": {error}'
            ) from error
        ids = {id: waiting[_key(job)] for id, job in self._jobs.items()}
        self.holders = {id: other for id, other in ids.items() if id != other}
        self.sent = True
        announce_queued(self._connection, [j for id, j in self._jobs.items() if id == ids[id]])

    def _put(self, alias: str, job: Sendable) -> str:
        """Write one job. Return the id of the one that waits from now on."""
        assert job.wish is not None  # noqa: S101 - `with_wish` was called
        id = debounced.put(alias, self._connection, job.outgoing, job.wish)
        if job.plan.keeps_result and id == job.outgoing.id:
            results.write(alias, self._connection, [job.outgoing], self._owner)
        elif job.plan.keeps_result:
            results.table(alias).filter(pk=id, finished_at=None).update(owner=self._owner)
        return id


def _key(job: Sendable) -> str:
    assert job.wish is not None  # noqa: S101 - `with_wish` was called
    return job.wish.key


def _ready(job: Sendable) -> Sendable:
    """Return a job as it waits: it has all its arguments with it, since another dispatch may put
    others in their place under the same id; and it runs once, however often it is pushed.
    """
    if not queues[job.plan.connection].driver.shares_transaction_with(steps.store()):
        payload = with_step(job.outgoing.payload, Links(once=True))
        job = job._replace(outgoing=job.outgoing._replace(payload=payload))
    return shrunk(job, is_copied=True)
