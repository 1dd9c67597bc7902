"""A worker without children: jobs run in this process, one at a time.

For a debugger (``--workers 0``) and for tests. The same runner and the same finish, but no process
watches: no timeouts, and a job that kills its process kills the worker.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from django.db import DatabaseError

from djqueue.composition.batches import upkeep
from djqueue.composition.finishing import finish_for
from djqueue.composition.running import Bound
from djqueue.conf import settings
from djqueue.context import without
from djqueue.dispatch import controls
from djqueue.dispatch.outbox import outbox
from djqueue.drivers import clock, make_driver
from djqueue.drivers.base import Reservation, Settlement, Verdict, WorkerIdentity
from djqueue.errors import QueueError
from djqueue.finish import deaths as postmortem
from djqueue.finish.announce import announce
from djqueue.finish.notices import FreeSlots, Notice, RemovePayloads, after, notices_of
from djqueue.runner.attempt import Attempt
from djqueue.runner.cleanup.reset import connections_after
from djqueue.runner.outcome import End, Outcome
from djqueue.runner.runner import Runner
from djqueue.worker.notices import LookAfterBatches, carry_out
from djqueue.worker.options import StopReason, WorkerOptions
from djqueue.worker.store.keeper import Keeper

if TYPE_CHECKING:
    from djqueue.drivers.base import Driver
    from djqueue.runner.atomic import FinishOfThread
    from djqueue.runner.rules import Rules
    from djqueue.worker.report.report import Report

logger = logging.getLogger("djqueue.worker")

T = TypeVar("T")


class InlineWorker:
    """Runs jobs through `driver` on this thread's own connections."""

    def __init__(self, options: WorkerOptions, driver: Driver, report: Report) -> None:
        self.options = options
        self.session = driver.session()
        self.report = report
        self.done = 0
        self.started = time.monotonic()
        self.reason: StopReason | None = None
        self.error: BaseException | None = None
        """What the last job raised, if it did."""
        self._finish = finish_for(self.session, options.connection)
        rules = options.rules(settings().unknown_job_grace)
        self._runner = self._runner_with(lambda: self._finish, rules)
        self._began = ""

    def _runner_with(self, finish: FinishOfThread, rules: Rules) -> Runner:
        return Runner(self.options.connection, rules, finish=finish, binding=Bound(finish))

    def prepare(self) -> None:
        """Do nothing: there is no warden."""

    def run(self) -> StopReason:
        """Work until there is a reason to stop, or Ctrl-C."""
        try:
            while self.reason is None:
                if not self.step():
                    self.reason = self._nothing_there()
                elif self.options.max_jobs and self.done >= self.options.max_jobs:
                    self.reason = StopReason.ONCE if self.options.once else StopReason.MAX_JOBS
                elif (
                    self.options.max_time
                    and time.monotonic() - self.started > self.options.max_time
                ):
                    self.reason = StopReason.MAX_TIME
        except KeyboardInterrupt:
            self.reason = StopReason.SIGNAL
        self.report.stopped(self)
        return self.reason

    def step(self) -> bool:
        """Run the next job. Return False if none may be reserved."""
        return without(self._step)

    def _step(self) -> bool:
        reservations = self._ask(self._reserve)
        while not reservations and _looked_after_batches():
            reservations = self._ask(self._reserve)
        for reservation in reservations:
            self._run(reservation)
        orphans = self._ask(self._orphans)
        for orphan in orphans:
            why = "Its worker is gone; how the attempt ended is unknown."
            self._end(orphan, postmortem.interrupted(orphan, self._runner.rules, why))
        return bool(reservations or orphans)

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask the store in the thread that has the driver."""
        return question()

    def _reserve(self) -> list[Reservation]:
        paused = controls.paused_queues(self.options.connection)
        if controls.EVERY_QUEUE in paused:
            return []
        queues = [queue for queue in self.options.queues if queue not in paused]
        if outbox.in_use():
            outbox.replay()
        self.session.promote(queues)
        reserved = self.session.exchange((), queues, 1).reservations
        if reserved and not (jobs := self._finish.to_run(reserved)):
            self._store()  # it has ended before, and goes now
            return self._reserve()
        return jobs if reserved else reserved

    def _orphans(self) -> list[Reservation]:
        return self.session.recover(1) if self.session.has_orphans else []

    def attempt(self, attempt: Attempt) -> Outcome:
        """Run one attempt, and clean up after the job."""
        outcome = self._runner.run(attempt)
        connections_after(attempt.job.name)
        return outcome

    def _run(self, reservation: Reservation) -> None:
        self._began = reservation.id
        attempt = self._runner.attempt(reservation)
        outcome = self.attempt(attempt)
        self.error = attempt.error
        self.done += 1
        self._end(reservation, outcome, attempt.error)

    def _end(
        self, reservation: Reservation, outcome: Outcome, raised: BaseException | None = None
    ) -> None:
        """Store the end of an attempt, then announce it."""
        end = End(reservation, outcome)
        self.report.attempts_ended([end])
        self.report.flush()
        self._finish.add([end])
        self._ask(self._store)
        ends = self._finish.take_stored()
        self.report.jobs_ended(ends)
        for notice in notices_of(ends):
            for each in (notice, *after(notice)):
                self._deliver(each, raised)
        self.report.flush()

    def _deliver(self, notice: Notice, raised: BaseException | None) -> None:
        if isinstance(notice, RemovePayloads | FreeSlots):
            carry_out(notice)
        else:
            announce(notice, self._runner.teller, self.options.connection, raised)

    def _store(self) -> None:
        self._finish.store_followed()
        settlements = self._finish.taken()
        if settlements:
            self._finish.settled(settlements, self.session.settle(settlements))

    def _nothing_there(self) -> StopReason | None:
        if self.options.once:
            return StopReason.ONCE
        if self.options.stop_when_empty:
            return StopReason.EMPTY
        time.sleep(self.options.sleep)
        return None


def _looked_after_batches() -> bool:
    """Do what is due for batches. Return whether anything was."""
    try:
        is_due = upkeep.is_due()
    except DatabaseError:
        return False  # it is away
    if is_due:
        carry_out(LookAfterBatches())
    return is_due


class LeasedInlineWorker(InlineWorker):
    """``--workers 0``: a thread keeps the lease of what runs, takes over what dead workers held,
    and hands back what Ctrl-C cut short.
    """

    def __init__(self, options: WorkerOptions, driver: Driver, report: Report) -> None:
        super().__init__(options, driver, report)
        identity = WorkerIdentity(
            options.name, socket.gethostname(), os.getpid(), options.queues, driver.lease
        )
        self._keeper = Keeper(driver, identity, options.connection)
        self.session = self._keeper.session
        own = finish_for(
            make_driver(settings().connection(options.connection)).session(), options.connection
        )
        # Jobs that end themselves do so on the connections of this thread.
        self._runner = self._runner_with(lambda: own, self._runner.rules)
        self._finish = finish_for(self.session, options.connection, self._keeper.sql.ask)
        self._sweep_at = 0.0

    def run(self) -> StopReason:
        """As `InlineWorker.run`, under a lease."""
        self._keeper.start()
        try:
            return super().run()
        finally:
            if self._keeper.held:
                self._hand_back()
            self._keeper.close()

    def _ask(self, question: Callable[[], T]) -> T:
        return self._keeper.ask(question)

    def _reserve(self) -> list[Reservation]:
        reservations = super()._reserve()
        self._keeper.held.update((each.id, each) for each in reservations)
        return reservations

    def _orphans(self) -> list[Reservation]:
        lease = self._keeper.lease
        if lease is None or not (lease.may_recover_others or self.session.has_orphans):
            return []
        if clock.now() < self._sweep_at and not self.session.has_orphans:
            return []
        self._sweep_at = clock.now() + lease.every
        taken = self.session.recover(1)
        self._keeper.held.update((each.id, each) for each in taken)
        if taken:
            self._sweep_at = 0.0
        return taken

    def _end(
        self, reservation: Reservation, outcome: Outcome, raised: BaseException | None = None
    ) -> None:
        super()._end(reservation, outcome, raised)
        self._keeper.held.pop(reservation.id, None)

    def _hand_back(self) -> None:
        """Hand back the job that was cut short as interrupted, and jobs that had not begun
        unchanged.
        """
        held = list(self._keeper.held.values())
        settlements = [
            Settlement(each, Verdict.INTERRUPTED if each.id == self._began else Verdict.RETURN)
            for each in held
        ]
        try:
            self._ask(lambda: self.session.settle(settlements))
        except (QueueError, DatabaseError) as error:
            logger.warning("What ran could not be handed back: %s", error)
        else:
            self._keeper.held.clear()
            for each in held:
                why = "It was stopped together with its worker."
                outcome = postmortem.interrupted(each, self._runner.rules, why)
                self.report.attempts_ended([End(each, outcome)])
            self.report.flush()
