"""What children answer, and what is known of those that cannot answer any more."""

from __future__ import annotations

import selectors
from typing import TYPE_CHECKING

from djqueue.decision import Happened
from djqueue.running.outcome import Outcome
from djqueue.worker import clock
from djqueue.worker.child import HARD
from djqueue.worker.chores import NOBODY
from djqueue.worker.crew import Burial, outcome_of
from djqueue.worker.options import StopReason
from djqueue.worker.process import Process
from djqueue.worker.wire import Item, Told

if TYPE_CHECKING:
    from djqueue.worker.parent import Worker


class Answers:
    """The children's side of the loop."""

    def __init__(self, worker: Worker, selector: selectors.BaseSelector) -> None:
        self._worker = worker
        self._selector = selector

    def listen(self, process: Process) -> None:
        """Take note of what a child has reported."""
        worker, now = self._worker, clock.now()
        for item, told in process.answers():
            if told.outcome is not None:
                self._ended(process, item, told, told.outcome, now)
            elif item.reservation.name != NOBODY:
                self._worker.trade.finish.told(item.reservation)
        if process.spoilt:
            self.take_back(process)
        if worker.ends_when_empty and not worker.crew.busy:
            worker.trade.look_now()

    def _ended(
        self, process: Process, item: Item, told: Told, outcome: Outcome, now: float
    ) -> None:
        self._worker.done += 1
        self._worker.pace.observe(item.reservation.name, outcome.duration, now)
        self._worker.trade.note(item.reservation, outcome)
        if outcome.spoilt:
            process.spoilt = True
        if told.memory:
            self._worker.report.event(
                "warning",
                f"A child occupies {told.memory >> 20} MB after {item.reservation.name}, above"
                f" --memory {self._worker.options.memory}.",
            )
            self._worker.stop(StopReason.MEMORY)
        if self._worker.options.rest:
            self._worker.duties.rest_until = now + self._worker.options.rest
        if self._worker.options.max_jobs and self._worker.done >= self._worker.options.max_jobs:
            self._worker.stop(StopReason.ONCE if self._worker.options.once else StopReason.MAX_JOBS)

    def take_back(self, process: Process) -> None:
        """What a child has not begun goes to others, or back to the store."""
        taken = process.take_back()
        for item in reversed(taken):
            if item.notice is not None:
                self._worker.stock.notices.appendleft((item.reservation, item.notice))
        self._worker.stock.put_first(item.reservation for item in taken if item.notice is None)

    def relieve(self, now: float) -> None:
        """Nobody waits behind a job that runs for long."""
        for process, item in list(self._worker.crew.behind_a_long_one(now)):
            running = process.running()
            self._worker.pace.observe(
                item.reservation.name, now - running[1].since if running else 1, now
            )
            process.full = True
            self.take_back(process)

    def start_children(self, now: float) -> None:
        """Replace those that have ended; not while the lease is over, since others have the jobs
        by now, and on the way out only for the sake of a notice.
        """
        wanted = self._worker.reason is None or bool(self._worker.stock.notices)
        if not wanted or now >= self._worker.lease.over_at:
            return
        for process in self._worker.crew.start_missing(now):
            self._selector.register(process.ends.outcomes, selectors.EVENT_READ, process)

    def bury(self) -> None:
        """See to the children that have ended."""
        for burial in self._worker.crew.bury():
            process = burial.process
            self.listen(process)
            self.take_back(process)
            for item in process.held.values():
                self._lost_with(burial, item)
            self._selector.unregister(process.ends.outcomes)
            process.close()

    def _lost_with(self, burial: Burial, item: Item) -> None:
        if item.notice is not None:
            name = item.reservation.name
            what = "A chore" if name == NOBODY else f"{name}.failed()"
            self._worker.report.event("warning", f"{what} ended its process.")
            return
        outcome = outcome_of(
            burial, item, self._worker.team, self._worker.options.memory_kill << 20
        )
        if outcome.happened is Happened.TIMED_OUT and outcome.error is not None:
            outcome = outcome._replace(error=outcome.error._replace(place=HARD))
        self._worker.done += 1
        self._worker.trade.note(item.reservation, outcome)
