"""`chain`: jobs that run one after the other, each when the one before has succeeded."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from time import time_ns
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from djqueue import context
from djqueue.composition.chains.beginning import Beginning, EncodedChain
from djqueue.composition.chains.dispatched import DispatchedChain
from djqueue.dispatch.connections import queues
from djqueue.dispatch.dispatch import prepare_as, refuse_event_loop
from djqueue.dispatch.recording import recorders
from djqueue.errors import InvalidJob
from djqueue.jobs.definition.options import checked_overrides
from djqueue.jobs.definition.spec import spec_of
from djqueue.payload.ids import Moment
from djqueue.payload.links import NO_LINKS, Links, with_step

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from djqueue.dispatch.dispatched import DispatchedJob
    from djqueue.dispatch.outgoing import Sendable
    from djqueue.jobs.definition.options import Overrides
    from djqueue.jobs.definition.spec import JobInstance

__all__ = ["Chain", "chain", "with_options"]


class Chain:
    """Jobs in order. `dispatch` queues the first; each other one when the one before it is done."""

    def __init__(self, jobs: Iterable[JobInstance]) -> None:
        self._steps: tuple[JobInstance, ...] = tuple(jobs)
        self._alert: JobInstance | None = None
        self._using: Mapping[str, Any] = MappingProxyType({})
        for job in self._steps:
            spec_of(job)

    def on_failure(self, job: JobInstance) -> Self:
        """Return a copy that runs `job` once, at the first failure of a step."""
        spec_of(job)
        configured = copy.copy(self)
        configured._alert = job
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
        encoded = self.encoded()
        if (recorder := recorders.innermost) is not None:
            return recorder.record_chain(encoded.steps, encoded.on_failure)
        encoded = encoded.shrunk()
        beginning = Beginning(encoded)
        beginning.begin()
        members = [(each.plan.connection, each.outgoing) for each in encoded.steps]
        return DispatchedChain(encoded.id, members, beginning)

    async def adispatch(self) -> DispatchedJob[Any]:
        """`dispatch` for coroutines, on the thread that Django's ORM uses for them."""
        dispatched: DispatchedJob[Any] = await sync_to_async(self.dispatch)()
        return dispatched

    def below(self, using: Mapping[str, Any]) -> Self:
        """Return a copy with these options too, where it has none of its own."""
        configured = copy.copy(self)
        configured._using = {**using, **self._using}
        return configured

    def encoded(self, links: Links = NO_LINKS) -> EncodedChain:
        """Check and encode the steps for a dispatch at this moment. Stores nothing."""
        if not self._steps:
            raise InvalidJob("A chain needs at least one job. Nothing was queued.")
        moment = Moment(time_ns())
        chain_id, *ids = moment.ids(len(self._steps) + 2)
        carried = context.stored()
        jobs = (*self._steps, *(() if self._alert is None else (self._alert,)))
        ready = [
            prepare_as(self._with_options(job, is_first=not at), spec_of(job), moment, id, carried)
            for at, (job, id) in enumerate(zip(jobs, ids, strict=False))
        ]
        first, *others = ready[: len(self._steps)]
        payload = with_step(first.outgoing.payload, links._replace(chain=chain_id, step=1))
        first = first._replace(outgoing=first.outgoing._replace(payload=payload))
        on_failure = ready[len(self._steps) :]
        _refuse_in_worker([first, *others], on_failure)
        return EncodedChain(chain_id, [first, *others], on_failure)

    def _with_options(self, job: JobInstance, *, is_first: bool) -> JobInstance:
        given = {name: value for name, value in self._using.items() if is_first or name != "delay"}
        return with_options(job, given)


def _refuse_in_worker(steps: Sequence[Sendable], on_failure: Sequence[Sendable]) -> None:
    """Refuse a job that runs in the process that queues it, behind one that a worker runs: the
    worker, which runs no code of the project, would be that process.
    """
    before: Sendable | None = None
    for each in (*steps, *on_failure):
        capabilities = queues[each.plan.connection].driver.capabilities
        if capabilities.inline and before is not None:
            raise InvalidJob(
                f'{each.outgoing.name} is for connection "{each.plan.connection}", which runs jobs'
                f" in the process that queues them, but comes in its chain after"
                f' {before.outgoing.name} on "{before.plan.connection}", which a worker runs. Give'
                " both the same connection, as chain(…).using(connection=…) does. Nothing was"
                " queued."
            )
        if capabilities.keeps_jobs:
            before = each


def with_options(job: JobInstance, using: Mapping[str, Any]) -> JobInstance:
    """A copy of `job` with these options, where it has none of its own; itself without any."""
    if not using:
        return job
    configured = copy.copy(job)
    configured._using = {**using, **job._using}
    return configured


def chain(jobs: Iterable[JobInstance]) -> Chain:
    """Bind `jobs` into a chain: ``chain([Fetch(url), Parse(), Save()]).dispatch()``."""
    return Chain(jobs)
