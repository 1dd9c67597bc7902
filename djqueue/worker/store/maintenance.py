"""What workers do for their queues by the clock: read the controls, put delayed jobs in line, take
over from dead workers, move the outbox, write statistics, prune.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from django.db import DatabaseError

from djqueue.composition.batches import upkeep
from djqueue.conf import settings
from djqueue.dispatch import controls
from djqueue.dispatch.outbox import outbox
from djqueue.drivers.base import Reservation
from djqueue.errors import QueueUnavailable
from djqueue.finish import deaths as postmortem
from djqueue.notify import watch
from djqueue.runner.outcome import Outcome
from djqueue.runner.rules import Rules
from djqueue.worker.notices import LookAfterBatches, Notify, Prune, ReplayOutbox, Upkeep
from djqueue.worker.schedule import NEVER, Timer

if TYPE_CHECKING:
    from djqueue.worker.options import WorkerOptions
    from djqueue.worker.store.access import StoreAccess

logger = logging.getLogger("djqueue.worker")

READ_CONTROLS_EVERY = 1.0
PROMOTE_AT_LEAST = 1.0
REPLAY_EVERY = 1.0
REPLAY_ELSEWHERE_EVERY = 10.0
"""Seconds between two replays of the outbox of stores that have no workers."""
LOOK_AFTER_EVERY = 1.0
"""Seconds between two looks for batches that are to be looked after."""
PRUNE_EVERY = 3600.0
RECOVER_SLICE = 100


class PauseChanged(NamedTuple):
    """A queue was paused or resumed."""

    queue: str
    paused: bool

    def __str__(self) -> str:
        return f"Queue {self.queue} is {'paused' if self.paused else 'resumed'}."


class RestartRequested(NamedTuple):
    """`queue_restart` was run since the worker started."""


class StopRequested(NamedTuple):
    """Operators want these jobs to be stopped, wherever they run."""

    ids: frozenset[str]


class JobsMayWait(NamedTuple):
    """Jobs were put in line that wake no worker."""


class Recovered(NamedTuple):
    """A job was taken over from a worker that is gone."""

    reservation: Reservation
    outcome: Outcome
    """Of the attempt whose end is unknown."""


class ForChild(NamedTuple):
    """A child has to do this, since it runs code of the project or may take long."""

    notice: Upkeep


Fact = PauseChanged | RestartRequested | StopRequested | JobsMayWait | Recovered | ForChild


class Done(NamedTuple):
    """A timer's work is done."""

    again: float
    """When it is due again."""
    facts: Sequence[Fact] = ()


_NEVER = Done(NEVER)


class Maintenance:
    """One worker's share of it. The last known controls hold while their database is away."""

    def __init__(self, store: StoreAccess, options: WorkerOptions, rules: Rules) -> None:
        self._store = store
        self._connection = options.connection
        self._queues = options.queues
        self._rules = rules
        self._notifies = bool(settings().notify.receivers)
        self._paused: set[str] = set()
        self._generation: int | None = None

    def open_queues(self) -> tuple[str, ...]:
        """Return the worker's queues that are not paused, in order."""
        if not self._paused:
            return self._queues
        if controls.EVERY_QUEUE in self._paused:
            return ()
        return tuple(queue for queue in self._queues if queue not in self._paused)

    def do(self, timer: Timer, now: float, *, accepting: bool) -> Done:
        """Do the work of `timer`; `accepting`: the worker wants new jobs."""
        match timer:
            case Timer.READ_CONTROLS:
                return Done(now + READ_CONTROLS_EVERY, self._read_controls())
            case Timer.PROMOTE:
                return self._promote(now, accepting)
            case Timer.RECOVER:
                return self._recover(now, accepting)
            case Timer.REPLAY_OUTBOX:
                return self._replay(now, accepting)
            case Timer.REPLAY_ELSEWHERE:
                return self._replay_elsewhere(now, accepting)
            case Timer.BATCHES:
                return self._look_after_batches(now, accepting)
            case Timer.NOTIFY:
                return Done(now + watch.EVERY, [ForChild(Notify())]) if self._notifies else _NEVER
            case Timer.WRITE_STATISTICS:
                return Done(self._store.write_statistics())
            case Timer.WRITE_FINISHED:
                return Done(self._store.write_finished())
        return Done(now + PRUNE_EVERY, [ForChild(Prune())])

    def _read_controls(self) -> list[Fact]:
        alias = settings().databases[0]
        if not self._store.may_ask_sql(alias):
            return []
        try:
            asked = (self._connection, self._store.worker)
            read = self._store.sql.ask(alias, lambda: controls.read(*asked))
            if (shared := settings().shared_database) != alias:
                read = read._replace(stops=self._store.sql.ask(shared, controls.stops))
        except (QueueUnavailable, DatabaseError) as error:
            logger.info("The controls could not be read: %s", error)
            return []
        changed = sorted(read.paused ^ self._paused)
        facts: list[Fact] = [PauseChanged(queue, queue in read.paused) for queue in changed]
        grown = self._generation is not None and read.generation > self._generation
        if grown or read.must_end:
            facts.append(RestartRequested())
        if read.stops:
            facts.append(StopRequested(read.stops))
        self._paused, self._generation = read.paused, read.generation
        return facts

    def _promote(self, now: float, accepting: bool) -> Done:
        """Put delayed jobs that are due in line."""
        store, queues = self._store, self.open_queues()
        if not accepting or not store.may_ask():
            return Done(now + PROMOTE_AT_LEAST)
        promotion = store.ask(lambda: store.session.promote(queues))
        if promotion is None or promotion.due_in is None:
            wait = PROMOTE_AT_LEAST
        else:
            wait = min(PROMOTE_AT_LEAST, promotion.due_in + 0.001)
        return Done(now + wait, [JobsMayWait()] if promotion and promotion.moved else ())

    def _recover(self, now: float, accepting: bool) -> Done:
        """Take over the jobs of dead workers. After an outage, wait until all workers have had time
        for a renewal; but what the store has given back by itself may be taken at once.
        """
        store, lease = self._store, self._store.lease
        again = now + lease.every * random.uniform(0.8, 1.2)
        if not store.may_ask():
            return Done(max(store.opens_at, now))
        if not (lease.may_recover_others and accepting) and not store.session.has_orphans:
            return Done(again)
        found = self._interrupted(store.recover(RECOVER_SLICE))
        return Done(now if len(found) == RECOVER_SLICE else again, found)

    def recover_long_dead(self) -> list[Recovered]:
        """Take over what no worker can hold any more, by any clock: for a worker that does not live
        long enough to know that others are dead.
        """
        found = self._store.recover(RECOVER_SLICE, late=self._store.lease.length)
        return self._interrupted(found)

    def _interrupted(self, found: list[Reservation]) -> list[Recovered]:
        why = "Its worker stopped renewing its lease; how the attempt ended is unknown."
        return [Recovered(job, postmortem.interrupted(job, self._rules, why)) for job in found]

    def _replay(self, now: float, accepting: bool) -> Done:
        """Push what is due in the outbox to the worker's own store, whose connection is open."""
        if not outbox.in_use():
            return Done(NEVER)
        moved = accepting and self._may_replay() and self._store.replay_outbox()
        return Done(now + REPLAY_EVERY, [JobsMayWait()] if moved else ())

    def _replay_elsewhere(self, now: float, accepting: bool) -> Done:
        """Let a child push what is late on its way to other stores, which may keep it waiting."""
        if not outbox.in_use():
            return Done(NEVER)
        if accepting and self._may_replay() and self._store.others_need_replay():
            return Done(now + REPLAY_ELSEWHERE_EVERY, [ForChild(ReplayOutbox())])
        return Done(now + REPLAY_EVERY)

    def _look_after_batches(self, now: float, accepting: bool) -> Done:
        """Let a child do what is left to do for batches."""
        alias, again = settings().shared_database, now + LOOK_AFTER_EVERY
        if not accepting or not self._store.may_ask_sql(alias):
            return Done(again)
        try:
            is_due = self._store.sql.ask(alias, upkeep.is_due)
        except (QueueUnavailable, DatabaseError) as error:
            logger.info("It is not known whether there are batches to look after: %s", error)
            return Done(again)
        return Done(again, [ForChild(LookAfterBatches())] if is_due else ())

    def _may_replay(self) -> bool:
        return self._store.may_ask() and self._store.may_ask_sql(settings().databases[0])
