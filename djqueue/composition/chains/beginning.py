"""The beginning of a chain: its first job is queued, and the others are written, in one step."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from django.db import DatabaseError, transaction

from djqueue.composition import following, inline
from djqueue.composition.batches import upkeep
from djqueue.composition.batches.publishing import settle
from djqueue.composition.chains import steps
from djqueue.composition.chains.staging import BatchStep, Places
from djqueue.composition.chains.steps import ON_FAILURE, Waiting
from djqueue.databases.transactions import open_aliases
from djqueue.dispatch.commits import aliases_to_wait_for, when_all_commit
from djqueue.dispatch.connections import queues
from djqueue.dispatch.large import shrunk
from djqueue.dispatch.outbox.outbox import Written
from djqueue.dispatch.outgoing import Sendable
from djqueue.dispatch.sending import announce_queued
from djqueue.drivers.base import OutgoingJob
from djqueue.results import rows as results

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("djqueue")


Step = Sendable | BatchStep
"""A step of a chain: a job, or a batch."""


class EncodedChain(NamedTuple):
    """A chain that is checked and encoded."""

    id: str
    steps: Sequence[Step]
    on_failure: Sequence[Sendable]
    """The job that runs if a step fails, if there is one."""

    @property
    def first(self) -> Step:
        """The step that begins at once."""
        return self.steps[0]

    @property
    def batches(self) -> list[str]:
        """The ids of the batches that are steps."""
        return [each.id for each in self.steps if isinstance(each, BatchStep)]

    def prepared(self, before: Places | None = None) -> EncodedChain:
        """Write what is too large for its store into the payload store, and batches that are steps
        with their members, a slice at a time. If the process ends before the chain is written, a
        worker removes these an hour later. `before`: what runs before the chain, of which its own
        jobs become a part.
        """
        ready: list[Step] = []
        places = Places() if before is None else before.inside()
        try:
            for each in self.steps:
                if isinstance(each, BatchStep):
                    each.batch.stage(each, places)
                    ready.append(each)
                else:
                    places.add(each.plan.connection, each.outgoing.name)
                    ready.append(shrunk(each))
                places.go_on()
            for each in self.on_failure:
                places.add(each.plan.connection, each.outgoing.name)
            on_failure = list(map(shrunk, self.on_failure))
            if before is not None:
                before.take(places)
        except BaseException:
            if self.batches:
                with suppress(DatabaseError), transaction.atomic(using=steps.store()):
                    steps.give_up_batches(steps.store(), self.batches)
            raise
        return EncodedChain(self.id, ready, on_failure)

    def write_waiting(self, alias: str) -> None:
        """Write the other steps, as a part of the open transaction of `alias`."""
        waiting = [_waiting(each, position) for position, each in enumerate(self.steps[1:], 2)]
        waiting += [_waiting(each, ON_FAILURE) for each in self.on_failure]
        steps.write(alias, self.id, waiting)
        if self.batches:
            steps.close_batches(alias, self.batches)


def _waiting(step: Step, position: int) -> Waiting:
    if isinstance(step, BatchStep):
        return waiting_batch(step, position)
    return Waiting(step.plan.connection, step.outgoing, position)


def waiting_batch(step: BatchStep, position: int, outer: str = "") -> Waiting:
    """Return the row that stands for a batch until its turn, as a member of the batch `outer`."""
    job = OutgoingJob(step.id, "", step.batch.name or "batch", "{}", batch=outer)
    return Waiting("", job, position)


class Beginning:
    """A chain that is about to begin: at once, or when the transactions that are open now have
    committed, where one of them is not that of the waiting steps.
    """

    def __init__(self, chain: EncodedChain) -> None:
        self._chain = chain
        self._first = first = chain.first
        self._aliases: list[str]
        if isinstance(first, BatchStep):
            self._aliases = open_aliases()
        else:
            self._connection, self._job = first.plan.connection, first.outgoing
            self._driver = queues[self._connection].driver
            self._aliases = aliases_to_wait_for(self._driver) if first.plan.after_commit else []
        self._written: Written | None = None
        """The row of the first job, where it goes through the outbox."""
        self._withdrawn = False
        self.begun = False
        """Its first job has been queued, or is part of an open transaction."""

    def begin(self) -> None:
        """Queue the first job, and write the others."""
        others = [each for each in self._aliases if each != steps.store()]
        if others:
            when_all_commit(others, self._write)
        else:
            self._write()

    def withdraw(self) -> bool:
        """Keep a chain from beginning. Return whether it had not yet."""
        if self.begun:
            return False
        self._withdrawn = True
        if self._written is not None:
            self._written.withdraw(self._job.id)
        if not isinstance(self._first, BatchStep):
            results.cancelled(results.kept_among([self._job.payload]))
        if self._chain.batches:
            steps.give_up_batches(steps.store(), self._chain.batches)
        return True

    def _write(self) -> None:
        if self._withdrawn:
            return
        alias = steps.store()
        with transaction.atomic(using=alias):
            self._chain.write_waiting(alias)
            publish = self._add_first(alias)
        if publish is not None and alias in self._aliases:
            when_all_commit([alias], publish)  # whose errors keep no other callback from running
        elif publish is not None:
            publish()

    def _add_first(self, alias: str) -> Callable[[], None] | None:
        """Write the first job too, or begin a batch; what is left to do after the commit."""
        if isinstance(first := self._first, BatchStep):
            self.begun = True
            return settle(alias, partial(following.begin, alias, first.id))
        results.write_kept(alias, [(self._connection, self._job)])
        if self._driver.shares_transaction_with(alias):
            self._driver.push([self._job])
            self._has_begun()
            return None
        if self._driver.capabilities.inline:
            return self._run
        if self._driver.capabilities.discards:
            steps.throw_away(alias, [self._job.payload])
            return self._has_vanished
        self._written = Written(alias, self._connection)
        self._written.write([self._job])
        return partial(self._move, self._written)

    def _run(self) -> None:
        if not self._withdrawn:
            self._has_begun()
            inline.begin(self._job, self._connection)

    def _has_begun(self) -> None:
        self.begun = True
        if not isinstance(self._first, BatchStep):
            announce_queued(self._connection, [self._first])

    def _has_vanished(self) -> None:
        self._has_begun()
        for batch in self._chain.batches:
            upkeep.begin(batch)

    def _move(self, written: Written) -> None:
        if self._withdrawn:
            return
        self._has_begun()
        moved = written.move([self._job], self._driver)
        if moved.error is not None:
            what = "%s %s waits in the outbox, from where a worker will push it: %s"
            logger.warning(what, self._job.name, self._job.id, moved.error)
