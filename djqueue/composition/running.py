"""A chain as one of its steps sees it while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time_ns
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from djqueue import context
from djqueue.composition.batches.asking import Cancelled, find
from djqueue.composition.chains import steps
from djqueue.composition.chains.staging import Places
from djqueue.composition.chains.steps import store
from djqueue.dispatch.dispatch import prepare_as
from djqueue.drivers import unique_keys
from djqueue.errors import BatchCancelled, ResultNotStored
from djqueue.jobs import registry
from djqueue.jobs.definition.spec import spec_to_bind
from djqueue.payload.encryption import decrypted_value, is_encrypted_value, refuse_plain_value
from djqueue.payload.ids import Moment
from djqueue.payload.links import Links, read_links
from djqueue.results.running import KeepsResults
from djqueue.text.marks import in_own_words

if TYPE_CHECKING:
    from djqueue.jobs.definition.spec import JobInstance, JobSpec
    from djqueue.runner.atomic import FinishOfThread
    from djqueue.runner.current import CurrentJob, Report
    from djqueue.runner.outcome import PassedOn

__all__ = ["Bound", "RunningChain"]


Count = Callable[[str], int]
"""Returns how many steps of a chain wait."""


def _count(chain: str) -> int:
    return steps.count(store(), chain)


class RunningChain:
    """``current_job().chain``."""

    def __init__(self, links: Links, count: Count, job: CurrentJob) -> None:
        self._step = job
        self.id = links.chain
        self._count = count
        self.position = links.step
        """The number of the running step, from 1."""
        self.appended: list[Any] = []
        self.prepended: list[Any] = []

    @property
    def length(self) -> int:
        """The number of steps: those that ran, this one, and those that wait. Asks the database."""
        added = len(self.appended) + len(self.prepended)
        return self.position + added + self._count(self.id)

    async def alength(self) -> int:
        """`length` for coroutines."""
        length: int = await sync_to_async(lambda: self.length)()
        return length

    def append(self, *jobs: JobInstance) -> None:
        """Add steps behind all others. They are stored with the success of this step, and dropped
        with its failure. Raises `InvalidJob` where a worker would have to run one, as `chain` does.
        """
        self.appended += map(self._stored, jobs)

    def prepend(self, *jobs: JobInstance) -> None:
        """Add steps that come directly after this one, in this order; stored as by `append`."""
        self.prepended[:0] = map(self._stored, jobs)

    def _stored(self, job: JobInstance) -> list[Any]:
        moment = Moment(time_ns())
        (id,) = moment.ids(1)
        sendable = prepare_as(job, spec_to_bind(job), moment, id, context.stored())
        connection = sendable.plan.connection
        if connection != self._step.connection:
            places = Places()
            places.add(self._step.connection, self._step.name)
            places.go_on()
            places.add(connection, sendable.outgoing.name)
        return [connection, *sendable.outgoing]


class Bound(KeepsResults):
    """Gives the steps of chains their chain and the value of the step before, and unique jobs what
    frees their keys.
    """

    def __init__(
        self,
        finish: FinishOfThread | None = None,
        slot: Report | None = None,
        count: Count = _count,
    ) -> None:
        super().__init__(slot)
        self._finish = finish
        self._count = count
        self._cancelled = Cancelled()

    def enter(self, job: CurrentJob, links: Mapping[str, Any]) -> None:
        """Set ``batch``, ``chain``, ``previous``, and what frees the key. Raises `BatchCancelled`
        for a member of a cancelled batch, unless it is retried, and `Undecryptable` without the key
        for what the step before has returned.
        """
        super().enter(job, links)
        read = read_links(links)
        if batch := read.batch or read.follows:
            job.set_batch(batch, lambda: find(batch))
        if read.batch and not read.retried and self._cancelled.holds(read.batch):
            raise in_own_words(
                BatchCancelled(f"Batch {read.batch} is cancelled: {job.name} was not run.")
            )
        if read.chain:
            job.chain = RunningChain(read, self._count, job)
        if read.previous is not None:
            previous = _decrypted(read.previous, read.chain)
            job.look_up_previous = lambda: _previous(previous)
        if read.unique and (finish := self._finish) is not None:
            if read.keyed:
                job.free_key = lambda: unique_keys.free(steps.store(), job.id, read.unique)
            else:
                job.free_key = lambda: finish().session.free_key(job.id, job.queue, read.unique)

    def leave(self, job: CurrentJob, definition: JobSpec, value: Any) -> PassedOn:
        """Return the value for the next step and for the result, and the steps that were added."""
        left = dict(super().leave(job, definition, value))
        chain = job.chain
        if chain is not None and chain.appended:
            left["appended"] = chain.appended
        if chain is not None and chain.prepended:
            left["prepended"] = chain.prepended
        return left


def _decrypted(stored: Mapping[str, Any], chain: str) -> Mapping[str, Any]:
    """Return what the step before has left, with its value decrypted: without a key for it the job
    is not begun.
    """
    value, name = stored.get("value"), str(stored.get("name", ""))
    if is_encrypted_value(value):
        return {**stored, "value": decrypted_value(value, kind="value", job=name, chain=chain)}
    if registry.is_encrypted(name) and "refused" not in stored:
        refuse_plain_value(name)
    return stored


def _previous(stored: Mapping[str, Any]) -> Any:
    if "refused" in stored:
        raise ResultNotStored(
            f"The value of the step before could not be stored: {stored['refused']}"
        )
    name, value = str(stored.get("name", "")), stored.get("value")
    if not name:
        return value
    return registry.find(name).value_codec.decode(value, name)
