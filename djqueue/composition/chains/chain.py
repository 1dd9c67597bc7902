"""`chain`: jobs that run one after the other, each when the one before has succeeded."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import time_ns
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from djqueue import context
from djqueue.composition.chains.beginning import Beginning, EncodedChain
from djqueue.composition.chains.dispatched import DispatchedChain
from djqueue.composition.chains.staging import BatchStep, Places, Stageable
from djqueue.dispatch.dispatch import prepare_as, refuse_event_loop
from djqueue.dispatch.recording import recorders
from djqueue.drivers.base import OutgoingJob
from djqueue.errors import InvalidJob
from djqueue.jobs.closures import as_job
from djqueue.jobs.definition.options import checked_overrides
from djqueue.jobs.definition.spec import spec_of, spec_to_bind
from djqueue.payload.ids import Moment
from djqueue.payload.links import NO_LINKS, Links, with_step
from djqueue.tracing.dispatching import sending

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from djqueue.composition.chains.beginning import Step
    from djqueue.composition.chains.steps import Push
    from djqueue.dispatch.dispatched import DispatchedJob
    from djqueue.dispatch.outgoing import Sendable
    from djqueue.jobs.definition.options import Overrides
    from djqueue.jobs.definition.spec import JobInstance
    from djqueue.tracing.spans import Span

__all__ = ["Chain", "chain", "with_options", "without_delay"]


class Chain:
    """Jobs in order. `dispatch` queues the first; each other one when the one before it is done."""

    def __init__(self, jobs: Iterable[JobInstance | Stageable | Chain]) -> None:
        self._steps: tuple[JobInstance | Stageable, ...] = tuple(_flat(jobs))
        self._alert: JobInstance | None = None
        self._using: Mapping[str, Any] = MappingProxyType({})
        for job in self._steps:
            if not isinstance(job, Stageable):
                spec_to_bind(job)

    def on_failure(self, job: JobInstance) -> Self:
        """Return a copy that runs `job` once, at the first failure of a step."""
        configured = copy.copy(self)
        configured._alert = job = as_job(job)
        spec_to_bind(job)
        return configured

    def using(self, **overrides: Unpack[Overrides]) -> Self:
        """Return a copy whose steps have these options, where they have none of their own from
        ``using()``. ``delay`` is for the first step.
        """
        given = checked_overrides(overrides, "chain().using()")
        configured = copy.copy(self)
        configured._using = {**self._using, **given}
        return configured

    def dispatch(self) -> DispatchedJob[Any]:
        """Queue the chain. Returns its first step, whose ``cancel()`` ends the chain."""
        refuse_event_loop("dispatch()", "await adispatch()")
        with sending() as span:
            return self._dispatch(span)

    def _dispatch(self, span: Span) -> DispatchedJob[Any]:
        encoded = self.encoded()
        first = encoded.steps[0]
        queue = None if isinstance(first, BatchStep) else first.outgoing.queue
        span.tell(queue=queue, chain=encoded.id, steps=len(encoded.steps))
        recorder = recorders.innermost and recorders.taking(*self.jobs())
        if recorder is not None:
            return recorder.record_chain(encoded.steps, encoded.on_failure)
        encoded = encoded.prepared()
        beginning = Beginning(encoded)
        beginning.begin()
        return DispatchedChain(encoded.id, list(map(_member, encoded.steps)), beginning)

    async def adispatch(self) -> DispatchedJob[Any]:
        """`dispatch` for coroutines, on the thread that Django's ORM uses for them."""
        dispatched: DispatchedJob[Any] = await sync_to_async(self.dispatch)()
        return dispatched

    def jobs(self) -> Iterator[JobInstance]:
        """Return its jobs, those of batches among its steps and the one for a failure."""
        for each in self._steps:
            yield from each.jobs() if isinstance(each, Stageable) else (each,)
        if self._alert is not None:
            yield self._alert

    def below(self, using: Mapping[str, Any]) -> Self:
        """Return a copy with these options too, where it has none of its own."""
        configured = copy.copy(self)
        configured._using = {**using, **self._using}
        return configured

    def encoded(self, links: Links = NO_LINKS, depth: int = 0) -> EncodedChain:
        """Check and encode the steps for a dispatch at this moment; of a batch that is a step the
        members are taken later. Stores nothing. `depth`: how many batches it is inside of.
        """
        if not self._steps:
            raise InvalidJob("A chain needs at least one job. Nothing was queued.")
        moment = Moment(time_ns())
        chain_id, *ids = moment.ids(len(self._steps) + 2)
        carried = context.stored()
        links = links._replace(chain=chain_id)
        ready: list[Step] = []
        for at, (job, id) in enumerate(zip(self._steps, ids, strict=False), 1):
            using = self._using if at == 1 else without_delay(self._using)
            if isinstance(job, Stageable):
                step = links._replace(step=at)
                ready.append(BatchStep(job.below(using), id, step, depth))
            else:
                own = with_options(job, using)
                ready.append(prepare_as(own, spec_of(job), moment, id, carried))
        first = ready[0]
        if not isinstance(first, BatchStep):
            payload = with_step(first.outgoing.payload, links._replace(step=1))
            outgoing = first.outgoing._replace(payload=payload, batch=links.batch)
            ready[0] = first._replace(outgoing=outgoing)
        on_failure = []
        if (alert := self._alert) is not None:
            own = with_options(alert, without_delay(self._using))
            on_failure = [prepare_as(own, spec_of(alert), moment, ids[-1], carried)]
        _refuse_in_worker(ready, on_failure)
        return EncodedChain(chain_id, ready, on_failure)


def _flat(jobs: Iterable[JobInstance | Stageable | Chain]) -> Iterator[JobInstance | Stageable]:
    """Return steps, those of a chain among them in its place."""
    for job in jobs:
        if not isinstance(job, Chain):
            yield as_job(job)
            continue
        if job._alert is not None:
            raise InvalidJob(
                "A chain that is a step of another one has an on_failure() of its own. Let the "
                "outer chain have it, or make the inner one a batch: batch([chain([…])]). Nothing "
                "was queued."
            )
        for at, step in enumerate(job._steps):
            using = without_delay(job._using) if at else job._using
            if isinstance(step, Stageable):
                yield step.below(using)
            else:
                yield with_options(step, using)


def _member(step: Step) -> Push:
    """Return a step as `DispatchedChain` knows it; a batch has no connection."""
    if isinstance(step, BatchStep):
        return "", OutgoingJob(step.id, "", step.batch.name, "")
    return step.plan.connection, step.outgoing


def _refuse_in_worker(steps: Sequence[Step], on_failure: Sequence[Sendable]) -> None:
    """Refuse what `Places` refuses, as far as it is known now: members of batches are not."""
    places = Places()
    for each in (*steps, *on_failure):
        if not isinstance(each, BatchStep):
            places.add(each.plan.connection, each.outgoing.name)
            places.go_on()


def with_options(job: JobInstance, using: Mapping[str, Any]) -> JobInstance:
    """A copy of `job` with these options, where it has none of its own; itself without any."""
    if not using:
        return job
    configured = copy.copy(job)
    configured._using = {**using, **job._using}
    return configured


def without_delay(using: Mapping[str, Any]) -> dict[str, Any]:
    """Return options but for the delay, which is for what begins at once."""
    return {name: value for name, value in using.items() if name != "delay"}


def chain(jobs: Iterable[JobInstance | Stageable | Chain]) -> Chain:
    """Bind `jobs` into a chain: ``chain([Fetch(url), Parse(), Save()]).dispatch()``. A step may be
    a batch: the next one begins when the batch has finished, unless it was cancelled. The steps of
    a chain among them come in its place.
    """
    return Chain(jobs)
