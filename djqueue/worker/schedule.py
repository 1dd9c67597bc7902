"""What a worker does by the clock: signs of life, timeouts, controls, promotion, sweeping."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from django.db import DatabaseError

from djqueue.conf import settings
from djqueue.dispatch import controls
from djqueue.dispatch.outbox import outbox
from djqueue.drivers.base import Promotion, Reservation
from djqueue.errors import QueueUnavailable
from djqueue.finish import deaths as postmortem
from djqueue.finish.notices import Chore, ChoreKind
from djqueue.worker import clock
from djqueue.worker.children.channel import WorkItem
from djqueue.worker.exchange import STORE_ERRORS
from djqueue.worker.options import StopReason

if TYPE_CHECKING:
    from djqueue.worker.worker import Worker

logger = logging.getLogger("djqueue.worker")

LOOK_AT_CONTROLS = 1.0
WATCH = 0.05
"""Seconds between looks at what runs, while something runs."""
SAMPLE_MEMORY = 0.25
PROMOTE_AT_LEAST = 1.0
SWEEP_SLICE = 100
REPLAY_EVERY = 1.0
HELP_EVERY = 10.0
"""Seconds between two looks at the outbox of stores that have no workers."""
PRUNE_EVERY = 3600.0
NEVER = float("inf")
LAST_WORDS = 1.0
"""Seconds after the grace in which what was stopped is told the store; then others find it."""


class Schedule:
    """Each duty has a time at which it is next due."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.rest_until = 0.0
        self._help_at = 0.0
        self._paused: set[str] = set()
        self._generation: int | None = None
        now = clock.now()
        self._due: dict[Callable[[float], float], float] = {
            self._renew: 0.0,
            self._read_controls: now,
            self._promote: now,
            self._watch: now,
            self._sample_memory: now if worker.options.memory_kill else NEVER,
            self._sweep: now + worker.lease.every,
            self._replay: now,
            self._show: now if worker.presence else NEVER,
            self._prune: now + random.uniform(60, 300),
            self._stop_in_time: now,
        }
        self._without_store = (self._watch, self._sample_memory, self._stop_in_time)

    def run(self, now: float) -> None:
        """Do what is due."""
        for duty, due in self._due.items():
            if now >= due:
                self._due[duty] = duty(now)

    def run_without_store(self, now: float) -> None:
        """Do what is due and asks no store anything."""
        for duty in self._without_store:
            if now >= self._due[duty]:
                self._due[duty] = duty(now)

    def next_without_store(self) -> float:
        """When `run_without_store` has something to do, or the lease is over."""
        own = (self._due[duty] for duty in self._without_store)
        return min(self._worker.lease.over_at, self._end(), *own)

    def _end(self) -> float:
        """When the loop has to look whether the worker may end."""
        worker = self._worker
        if worker.end_at is None:
            return NEVER
        return worker.end_at if clock.now() < worker.end_at else worker.end_at + LAST_WORDS

    def next_at(self, now: float) -> float:
        """When something is due next."""
        if self._worker.session.has_orphans:
            self._due[self._sweep] = now
        due = min(self._end(), *self._due.values())
        start = self._worker.children.start_at
        if start is not None and self._worker.reason is None:
            due = min(due, max(start, now))
        return max(due, self.rest_until) if self.rest_until > now and due > now else due

    def open_queues(self) -> tuple[str, ...]:
        """The worker's queues that are not paused, in order."""
        if not self._paused:
            return self._worker.options.queues
        if controls.EVERY_QUEUE in self._paused:
            return ()
        return tuple(q for q in self._worker.options.queues if q not in self._paused)

    # -- the duties: each returns when it is next due -------------------------------------------

    def _renew(self, now: float) -> float:
        """The sign of life; without one in time, the warden ends the children."""
        worker, lease, exchanger = self._worker, self._worker.lease, self._worker.exchanger
        if now >= lease.next_at and exchanger.may_ask():
            held = [*worker.children.held(), *worker.buffer.jobs, *exchanger.finish.waiting]
            try:
                lost = lease.renew(held)
            except STORE_ERRORS as error:
                exchanger.failed(error)
            else:
                self._tell_cancelled(lost)
            worker.children.lease_until(lease.over_at)
        return max(lease.next_at, exchanger.open_at)

    def _tell_cancelled(self, lost: set[str]) -> None:
        for process in self._worker.children.processes if lost else ():
            for item in process.held.values():
                if isinstance(item, WorkItem) and item.reservation.id in lost:
                    process.cancel(item)

    def _read_controls(self, now: float) -> float:
        """Pauses and restarts. While the database is away the last known ones hold."""
        worker = self._worker
        alias, connection = settings().databases[0], worker.options.connection
        if not self._may_ask_sql(alias):
            return now + LOOK_AT_CONTROLS
        try:
            paused, generation = worker.sql.ask(alias, lambda: controls.read(connection))
        except (QueueUnavailable, DatabaseError) as error:
            logger.info("The controls could not be read: %s", error)
            return now + LOOK_AT_CONTROLS
        for queue in sorted(paused ^ self._paused):
            what = "paused" if queue in paused else "resumed"
            worker.report.event("info", f"Queue {queue} is {what}.")
        if self._paused - paused:
            worker.exchanger.look_now()
        self._paused = paused
        if self._generation is None:
            self._generation = generation
        elif generation != self._generation:
            worker.stop(StopReason.RESTART)
        return now + LOOK_AT_CONTROLS

    def _promote(self, now: float) -> float:
        """Delayed jobs that are due go in line."""
        worker = self._worker
        if not worker.accepting or not worker.exchanger.may_ask():
            return now + PROMOTE_AT_LEAST
        answers: list[Promotion] = []
        if not worker.exchanger.attempt(
            lambda: answers.append(worker.session.promote(self.open_queues()))
        ):
            return now + PROMOTE_AT_LEAST
        moved, due_in = answers[0]
        if moved:
            worker.exchanger.look_now()
        return now + min(PROMOTE_AT_LEAST, PROMOTE_AT_LEAST if due_in is None else due_in + 0.001)

    def _watch(self, now: float) -> float:
        """Jobs that keep others waiting. What lasts too long is ended by the warden."""
        worker = self._worker
        worker.children.enforce_speech(now)
        worker.answers.relieve(now)
        worker.report.still_running(worker.children.processes, now)
        if worker.end_at is not None and now >= worker.end_at:
            worker.grace_is_over()
        return now + (WATCH if worker.children.busy else 1.0)

    def _sample_memory(self, now: float) -> float:
        self._worker.children.enforce_memory(self._worker.options.memory_kill << 20)
        return now + SAMPLE_MEMORY

    def _sweep(self, now: float) -> float:
        """Take over what dead workers held. Not after an outage, before all have said hello; but
        what a store has given us of its own accord is not ours to judge.
        """
        worker = self._worker
        again = now + worker.lease.every * random.uniform(0.8, 1.2)
        may_look = worker.lease.may_recover_others and worker.accepting
        if not worker.exchanger.may_ask():
            return max(worker.exchanger.open_at, now)
        if not may_look and not worker.session.has_orphans:
            return again
        try:
            taken = worker.session.recover(SWEEP_SLICE)
        except STORE_ERRORS as error:
            worker.exchanger.failed(error)
            return again
        self._interrupted(taken)
        return now if len(taken) == SWEEP_SLICE else again

    def look_for_long_dead(self) -> bool:
        """Before a worker ends because its queues are empty: take over what nobody can hold any
        more, by any clock, since such a worker is too short-lived to judge others. Whether there
        was something.
        """
        worker = self._worker
        taken: list[Reservation] = []
        worker.exchanger.attempt(
            lambda: taken.extend(worker.session.recover(SWEEP_SLICE, late=worker.lease.length))
        )
        self._interrupted(taken)
        return bool(taken)

    def _interrupted(self, taken: Sequence[Reservation]) -> None:
        worker = self._worker
        for reservation in taken:
            why = "Its worker stopped renewing its lease; how the attempt ended is unknown."
            worker.exchanger.note(
                reservation, postmortem.interrupted(reservation, worker.rules, why)
            )

    def _replay(self, now: float) -> float:
        """Move what is due in the outbox to its store: our own here, since its connection is open
        anyway; other stores may keep one waiting, so that is done in a child.
        """
        worker = self._worker
        if not outbox.in_use():
            return NEVER
        alias, own = settings().databases[0], worker.options.connection
        if not worker.accepting or not worker.exchanger.may_ask() or not self._may_ask_sql(alias):
            return now + REPLAY_EVERY
        try:
            if worker.sql.ask_every(lambda: outbox.replay(driver=worker.driver)):
                worker.exchanger.look_now()
            if now >= self._help_at and worker.sql.ask_every(lambda: outbox.late(own)):
                self._help_at = now + HELP_EVERY
                worker.buffer.notices.append(Chore(ChoreKind.REPLAY))
        except (QueueUnavailable, DatabaseError) as error:
            logger.info("The outbox could not be read: %s", error)
        return now + REPLAY_EVERY

    def _may_ask_sql(self, alias: str) -> bool:
        """What the driver's own connection is asked beside its jobs waits as they do."""
        worker = self._worker
        shared = worker.driver.shares_transaction_with(alias)
        return worker.exchanger.may_ask() if shared else clock.now() >= worker.sql.open_at

    def _show(self, now: float) -> float:
        """The row by which operators see a worker whose store writes none itself."""
        presence = self._worker.presence
        return presence.renew() if presence else NEVER

    def _prune(self, now: float) -> float:
        """In a child: it may take long, and storages are the project's code."""
        self._worker.buffer.notices.append(Chore(ChoreKind.PRUNE))
        return now + PRUNE_EVERY

    def _stop_in_time(self, now: float) -> float:
        options = self._worker.options
        if not options.max_time:
            return NEVER
        end = self._worker.started + options.max_time
        if now < end:
            return end
        self._worker.stop(StopReason.MAX_TIME)
        return NEVER

    def renew_in_time(self) -> None:
        """The lease has become shorter or longer."""
        lease = self._worker.lease
        self._worker.children.lease_until(lease.over_at)
        self._due[self._renew] = min(self._due[self._renew], lease.next_at)

    def promote_in(self, seconds: float) -> None:
        """A job of ours is due then."""
        self._due[self._promote] = min(self._due[self._promote], clock.now() + seconds + 0.001)

    def watch_closely(self) -> None:
        """Something runs from now on."""
        self._due[self._watch] = min(self._due[self._watch], clock.now() + WATCH)
