"""The last step of a dispatch: into the store now, or when its transactions have committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from djqueue.bus import outbox
from djqueue.bus.after_response import after_response
from djqueue.bus.connections import queues
from djqueue.drivers.base import RunHere
from djqueue.errors import QueueError
from djqueue.running.current import CurrentJob
from djqueue.running.here import run_here
from djqueue.signals import announce, job_queued

if TYPE_CHECKING:
    from collections.abc import Sequence

    from djqueue.bus.plans import Plan
    from djqueue.drivers.base import OutgoingJob

__all__ = ["Deferred", "Sendable", "send", "send_unannounced"]


class Sendable(NamedTuple):
    """A job, ready to be pushed."""

    outgoing: OutgoingJob
    instance: Any
    plan: Plan
    body: bytes | None = None
    """What `djqueue.bus.large.put_aside` has to store first."""


def send(connection: str, jobs: Sequence[Sendable], *, inline: bool) -> None:
    """Push `jobs` in order, or run them on an inline connection; errors reach the caller."""
    here = connection if inline else _push(connection, jobs)
    if here is not None:
        _run(here, jobs)


def send_unannounced(connection: str, jobs: Sequence[OutgoingJob]) -> None:
    """`send` where it is not inline, and nobody wants to hear of it."""
    here = _hand_over(connection, jobs)
    if here is not None:
        for job in jobs:
            _run_one(here, job)


def _push(connection: str, jobs: Sequence[Sendable]) -> str | None:
    """Hand over and announce."""
    here = _hand_over(connection, [job.outgoing for job in jobs])
    if here is None:
        _announce(connection, jobs)
    return here


def _hand_over(connection: str, jobs: Sequence[OutgoingJob]) -> str | None:
    """Give `jobs` to the store. Where none took them: the inline connection to run them on."""
    try:
        queues[connection].driver.push(jobs)
    except RunHere as left:
        return left.connection
    return None


def _run(connection: str, jobs: Sequence[Sendable]) -> None:
    for job in jobs:
        _announce(connection, (job,))
        _run_one(connection, job.outgoing)


def _run_one(connection: str, job: OutgoingJob) -> None:
    if queues[connection].driver.capabilities.after_response:
        after_response.run(job, connection)
    else:
        run_here(job, connection)


def _announce(connection: str, jobs: Sequence[Sendable]) -> None:
    if not job_queued.receivers:
        return
    for outgoing, instance, _, _ in jobs:
        job = CurrentJob(outgoing.id, outgoing.name, outgoing.queue, connection, 0, instance)
        announce(job_queued, type(instance), job=job, delay=outgoing.delay)


class Deferred:
    """Jobs of one connection that wait for a commit."""

    def __init__(self, connection: str, *, inline: bool) -> None:
        self._connection = connection
        self._inline = inline
        self._outbox: str | None = None
        """The alias whose transaction has the jobs in its outbox."""
        self.jobs: dict[str, Sendable] = {}
        self.sent = False

    def add(self, job: Sendable) -> None:
        """Let `job` wait too."""
        self.jobs[job.outgoing.id] = job

    def keep(self, aliases: Sequence[str]) -> None:
        """Write down what waits, in the transaction on the only one of `aliases`, where the
        connection has an outbox: then nothing is lost between its commit and `publish`.
        """
        if not self._inline:
            self._outbox = outbox.alias_for(self._connection, aliases)
        if self._outbox is not None:
            jobs = [job.outgoing for job in self.jobs.values()]
            outbox.write(self._outbox, self._connection, jobs)

    def discard(self, id: str) -> bool:
        """Keep a job from being sent; whether it was still waiting."""
        waited = self.jobs.pop(id, None) is not None
        if waited and self._outbox is not None:
            outbox.forget(self._outbox, [id])
        return waited

    def publish(self) -> None:
        """Send what waits."""
        jobs = list(self.jobs.values())
        self.jobs.clear()
        if not jobs:
            return
        here: str | None = self._connection
        try:
            if not self._inline:
                here = _push(self._connection, jobs)
            if self._outbox is not None:
                outbox.forget(self._outbox, [job.outgoing.id for job in jobs])
        except Exception as error:  # told on with the jobs it is about; the caller logs it
            first = jobs[0].outgoing
            others = f" and {len(jobs) - 1} others" if len(jobs) > 1 else ""
            hope = " A worker will do it, from the outbox." if self._outbox is not None else ""
            raise QueueError(
                f"The transaction was committed, but {first.name} {first.id}{others} could not be "
                f'queued on connection "{self._connection}": {error}{hope}'
            ) from error
        self.sent = True
        if here is not None:
            _run(here, jobs)
