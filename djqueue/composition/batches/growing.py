"""Members of a batch on their way into it: encoded, counted and stored, a slice at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from time import time_ns
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import transaction

from djqueue import context
from djqueue.composition import following
from djqueue.composition.batches import counting, elsewhere
from djqueue.composition.batches.counting import Ends
from djqueue.composition.batches.publishing import Publishing, run_all, settle
from djqueue.composition.chains import steps
from djqueue.composition.chains.beginning import EncodedChain, waiting_batch
from djqueue.composition.chains.chain import Chain, with_options
from djqueue.composition.chains.staging import BatchStep, Places
from djqueue.composition.chains.steps import MEMBER, Waiting
from djqueue.databases.transactions import open_aliases
from djqueue.dispatch.connections import queues
from djqueue.dispatch.dispatch import prepare_as
from djqueue.dispatch.large import shrunk
from djqueue.dispatch.outbox.outbox import Written
from djqueue.drivers.slices import slices
from djqueue.jobs.closures import as_job
from djqueue.jobs.definition.spec import JobInstance, spec_to_bind
from djqueue.payload.ids import Moment
from djqueue.payload.links import Links, with_step
from djqueue.payload.payload import encode_more
from djqueue.results import rows as results

if TYPE_CHECKING:
    from djqueue.composition.batches.publishing import Publish
    from djqueue.composition.chains.steps import Push
    from djqueue.dispatch.outgoing import Sendable
    from djqueue.drivers.base import OutgoingJob

logger = logging.getLogger("djqueue")

SLICE = 1000
"""Members that are stored together."""

Member = JobInstance | Chain
"""A job, or a chain of jobs."""


class Slice(NamedTuple):
    """Members that are encoded, and not stored yet."""

    size: int
    jobs: Mapping[str, list[OutgoingJob]]
    """What is pushed at once, by connection: jobs, and the first steps of chains."""
    chains: Sequence[EncodedChain]
    kept: Sequence[Push]
    """Those of the jobs whose results are kept."""


class Members:
    """The members that one call adds to a batch."""

    def __init__(
        self,
        batch: str,
        using: Mapping[str, Any],
        places: Places,
        depth: int = 0,
        *,
        waits: bool = False,
    ) -> None:
        """`places`: what may run before and behind them. `depth`: how many batches `batch` is
        inside of. `waits`: it is a step of a chain, and they wait for its turn.
        """
        self._batch = batch
        self._using = using
        self._places = places
        self._depth = depth
        self._waits = waits
        self.stored = False
        """Some are stored."""
        self.has_worker = False
        """Some run on a worker."""
        self.discarded = False
        """Some went to a connection that throws jobs away."""
        self.publishing = Publishing(steps.store())
        """Does what is left to do for members that are stored."""
        self._context = context.stored()
        self._carried = encode_more(links={"batch": batch}) + self._context

    def encoded(self, members: Iterable[Member]) -> Iterator[Slice]:
        """Take members from the iterable, a slice at a time; checked as a whole before any of it
        is stored.
        """
        for some in slices(members, SLICE):
            moment = Moment(time_ns())
            jobs: dict[str, list[OutgoingJob]] = {}
            chains, kept = [], []
            for member, id in zip(some, moment.ids(len(some)), strict=True):
                first = self.encode(member, moment, id)
                if isinstance(first, EncodedChain):
                    chain = first.prepared(self._places)
                    chains.append(chain)
                    if isinstance(chain.first, BatchStep):
                        continue
                    first = chain.first
                else:
                    self._places.add(first.plan.connection, first.outgoing.name)
                    first = shrunk(first)
                jobs.setdefault(first.plan.connection, []).append(first.outgoing)
                if first.plan.keeps_result:
                    kept.append((first.plan.connection, first.outgoing))
            yield Slice(len(some), jobs, chains, kept)

    def encode(self, member: Member, moment: Moment, id: str) -> Sendable | EncodedChain:
        """Check and encode one member, of any size."""
        if isinstance(member, Chain):
            links = Links(batch=self._batch)
            return member.below(self._using).encoded(links, self._depth + 1)
        own: JobInstance = as_job(member)
        spec = spec_to_bind(own)
        job = with_options(own, self._using)
        sendable = prepare_as(job, spec, moment, id, self._carried, self._batch)
        if not sendable.plan.keeps_result:
            return sendable
        sendable = prepare_as(job, spec, moment, id, self._context, self._batch)
        payload = with_step(sendable.outgoing.payload, Links(batch=self._batch))
        return sendable._replace(outgoing=sendable.outgoing._replace(payload=payload))

    def store(
        self,
        some: Slice,
        also: Callable[[str], object] = lambda alias: None,
        *,
        stays_open: bool = False,
    ) -> bool:
        """Count members in and store them, in one transaction, in which `also` is called; after it
        they are pushed where they are in another store, or run: their errors are in `publishing`.
        False, and nothing is stored, if the batch takes no more. `stays_open`: see
        `counting.grow`.
        """
        alias = steps.store()
        at_once = alias not in open_aliases()
        with transaction.atomic(using=alias):
            grow = partial(counting.grow, waits=self._waits, stays_open=stays_open)
            if not grow(alias, self._batch, some.size):
                return False
            also(alias)
            for chain in some.chains:
                chain.write_waiting(alias)
            batches = [c.first for c in some.chains if isinstance(c.first, BatchStep)]
            if self._waits:
                self._write(alias, some, batches)
                publish = []
            else:
                results.write_kept(alias, some.kept)
                store = partial(self._store, alias, at_once=at_once)
                publish = [store(*each) for each in some.jobs.items()]
                publish += [settle(alias, partial(following.begin, alias, b.id)) for b in batches]
        self.stored = True
        self.publishing.add(publish)
        return True

    def _write(self, alias: str, some: Slice, batches: Sequence[BatchStep]) -> None:
        """Write members that wait for the turn of their batch."""
        rows = [waiting_batch(each, MEMBER, self._batch) for each in batches]
        rows += [Waiting(name, job, MEMBER) for name, jobs in some.jobs.items() for job in jobs]
        steps.write(alias, self._batch, rows)

    def _store(
        self, alias: str, connection: str, jobs: Sequence[OutgoingJob], *, at_once: bool
    ) -> Publish:
        """Store jobs as far as that is done in SQL. Returns what is left to do: `at_once` if the
        transaction is this one's own.
        """
        driver = queues[connection].driver
        self.has_worker |= driver.capabilities.keeps_jobs
        if driver.shares_transaction_with(alias):
            driver.push(jobs)
            return _nothing
        if driver.capabilities.inline:
            return partial(run_all, [(connection, job) for job in jobs])
        if driver.capabilities.discards:
            self.discarded = True
            steps.throw_away(alias, [job.payload for job in jobs])
            ends = Ends(self._batch, len(jobs))
            return settle(alias, partial(following.count, alias, ends))
        elsewhere.note(alias, driver, jobs)
        written = Written(alias, connection, at_once=at_once)
        written.write(jobs)
        return partial(_move, written, connection, jobs)


def _nothing() -> None:
    """Do nothing: all is in SQL."""


def _move(written: Written, connection: str, jobs: Sequence[OutgoingJob]) -> None:
    moved = written.move(jobs, queues[connection].driver)
    if moved.error is not None:
        what = "%d members of a batch wait in the outbox, from where a worker will push them: %s"
        logger.warning(what, len(jobs), moved.error)
