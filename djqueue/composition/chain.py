"""`chain`: jobs that run one after the other, each when the one before has succeeded."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from time import time_ns
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from djqueue import context
from djqueue.composition.beginning import Beginning
from djqueue.composition.dispatched import DispatchedChain
from djqueue.composition.steps import ON_FAILURE, Waiting
from djqueue.dispatch.dispatch import prepare_as, refuse_event_loop
from djqueue.dispatch.large import shrink, store_bodies
from djqueue.dispatch.recording import recorders
from djqueue.errors import InvalidJob
from djqueue.jobs.definition.options import checked_overrides
from djqueue.jobs.definition.spec import spec_of
from djqueue.payload.ids import Moment
from djqueue.payload.links import Links, with_step

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from djqueue.dispatch.dispatched import DispatchedJob
    from djqueue.dispatch.outgoing import Sendable
    from djqueue.jobs.definition.options import Overrides
    from djqueue.jobs.definition.spec import JobInstance

__all__ = ["Chain", "chain"]


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
        if (recorder := recorders.innermost) is not None:
            return recorder.record_chain(ready[: len(self._steps)], ready[len(self._steps) :])
        return self._store(chain_id, [self._shrunk(each) for each in ready])

    async def adispatch(self) -> DispatchedJob[Any]:
        """`dispatch` for coroutines, on the thread that Django's ORM uses for them."""
        dispatched: DispatchedJob[Any] = await sync_to_async(self.dispatch)()
        return dispatched

    def _with_options(self, job: JobInstance, *, is_first: bool) -> JobInstance:
        given = {name: value for name, value in self._using.items() if is_first or name != "delay"}
        if not given:
            return job
        configured = copy.copy(job)
        configured._using = {**given, **job._using}
        return configured

    def _shrunk(self, job: Sendable) -> Sendable:
        if len(job.outgoing.payload) <= job.plan.fits:
            return job
        (stored,) = store_bodies(job.plan.connection, [shrink(job)], waits=True)
        return stored

    def _store(self, chain_id: str, ready: list[Sendable]) -> DispatchedJob[Any]:
        first, *others = ready
        waiting = [
            Waiting(each.plan.connection, each.outgoing, position)
            for position, each in enumerate(others, 2)
        ]
        if self._alert is not None:
            waiting[-1] = waiting[-1]._replace(position=ON_FAILURE)
        payload = with_step(first.outgoing.payload, Links(chain_id, 1))
        first = first._replace(outgoing=first.outgoing._replace(payload=payload))
        beginning = Beginning(chain_id, first, waiting)
        beginning.begin()
        members = [(each.plan.connection, each.outgoing) for each in ready[: len(self._steps)]]
        return DispatchedChain(chain_id, members, beginning)


def chain(jobs: Iterable[JobInstance]) -> Chain:
    """Bind `jobs` into a chain: ``chain([Fetch(url), Parse(), Save()]).dispatch()``."""
    return Chain(jobs)
