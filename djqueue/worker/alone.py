"""A worker without children: jobs run in this process, one at a time.

For a debugger (``--workers 0``) and for tests. The same runner and the same finish, but nobody
watches: no hard timeouts, and a job that kills its process kills the worker.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from djqueue.bus import controls, outbox
from djqueue.conf import settings
from djqueue.drivers.base import Reservation
from djqueue.running.outcome import ErrorReport, Outcome, exception_of
from djqueue.running.reset import connections_after
from djqueue.running.runner import Runner
from djqueue.worker import postmortem
from djqueue.worker.chores import forget_here
from djqueue.worker.finish import Finisher
from djqueue.worker.options import StopReason, WorkerOptions

if TYPE_CHECKING:
    from djqueue.drivers.base import Driver
    from djqueue.worker.report import Report


class WorkerAlone:
    """Runs jobs through `driver` on this thread's own connections."""

    def __init__(self, options: WorkerOptions, driver: Driver, report: Report) -> None:
        self.options = options
        self.driver = driver
        self.report = report
        self.done = 0
        self.started = time.monotonic()
        self.reason: StopReason | None = None
        self.error: BaseException | None = None
        """What the last job raised, if it did."""
        self._ran = ""
        self._runner = Runner(
            options.connection, options.rules(settings().unknown_job_grace), driver=lambda: driver
        )
        self._finish = Finisher(driver, options.connection, self._given_up, forget_here)

    def prepare(self) -> None:
        """Nothing: there is no warden."""

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
        """Run the next job; False if none may be reserved."""
        paused = controls.paused_queues(self.options.connection)
        if controls.EVERY_QUEUE in paused:
            return False
        queues = [queue for queue in self.options.queues if queue not in paused]
        if outbox.in_use():
            outbox.replay()
        self.driver.promote(queues)
        reservations = self.driver.exchange((), queues, 1).reservations
        for reservation in reservations:
            self._run(reservation)
        orphans = self.driver.recover(1) if self.driver.has_orphans else []
        for orphan in orphans:
            why = "Its worker is gone; nobody saw how the attempt ended."
            self._over(orphan, postmortem.interrupted(orphan, self._runner.rules, why))
        return bool(reservations or orphans)

    def attempt(self, reservation: Reservation) -> Outcome:
        """Run one attempt, and clean up behind the job."""
        outcome = self._runner.run(reservation)
        connections_after(reservation.name)
        return outcome

    def _run(self, reservation: Reservation) -> None:
        outcome = self.attempt(reservation)
        self.error, self._ran = self._runner.error, reservation.id
        self.done += 1
        self._over(reservation, outcome)

    def _over(self, reservation: Reservation, outcome: Outcome) -> None:
        self.report.ended(reservation, outcome)
        self._finish.add(reservation, outcome)
        self._finish.store_failures()
        settlements = self._finish.taken()
        if settlements:
            self._finish.settled(settlements, self.driver.settle(settlements))
        self.report.flush()

    def _given_up(self, reservation: Reservation, error: ErrorReport) -> None:
        own = self.error if reservation.id == self._ran else None  # not that of another job
        self._runner.failed(reservation, own or exception_of(error))
        self._finish.told(reservation)

    def _nothing_there(self) -> StopReason | None:
        if self.options.once:
            return StopReason.ONCE
        if self.options.stop_when_empty:
            return StopReason.EMPTY
        time.sleep(self.options.sleep)
        return None
