"""What children answer, and what is known of those that cannot answer any more."""

from __future__ import annotations

import logging
import selectors
from typing import TYPE_CHECKING

from djqueue.finish.notices import HARD, Failed, what_it_is
from djqueue.runner.decision import Ending
from djqueue.runner.outcome import Outcome
from djqueue.worker import clock
from djqueue.worker.children.channel import ChildReport, NoticeItem, WorkItem
from djqueue.worker.children.children import ExitedChild, outcome_of
from djqueue.worker.children.page import Reason
from djqueue.worker.children.process import Process
from djqueue.worker.options import StopReason
from djqueue.worker.warden.link import Link

if TYPE_CHECKING:
    from djqueue.worker.worker import Worker


logger = logging.getLogger("djqueue.worker")

WRITABLE = object()
"""What an event of a pipe that takes more is about: the next turn sends it."""


class Answers:
    """The children's side of the loop."""

    def __init__(self, worker: Worker, selector: selectors.BaseSelector) -> None:
        self._worker = worker
        self._selector = selector
        self._full_pipes: set[Process] = set()
        self._heard: Link | None = None

    def listen(self, process: Process) -> None:
        """Take note of what a child has reported."""
        worker, now = self._worker, clock.now()
        for item, report in process.answers():
            if isinstance(item, NoticeItem):
                if isinstance(item.notice, Failed):
                    worker.exchanger.finish.told(item.notice.reservation)
            elif report.outcome is not None:
                self._ended(process, item, report, report.outcome, now)
        if process.spoilt:
            self.take_back(process)
        if process.mute_since is not None:
            self._stop_listening(process)
        if worker.ends_when_empty and not worker.children.busy:
            worker.exchanger.look_now()

    def _ended(
        self, process: Process, item: WorkItem, report: ChildReport, outcome: Outcome, now: float
    ) -> None:
        self._over(process, item, outcome, now)
        if outcome.spoilt:
            process.spoilt = True
        if report.memory:
            logger.warning(
                "A child occupies %d MB after %s, above --memory %d.",
                report.memory >> 20,
                item.reservation.name,
                self._worker.options.memory,
            )
            self._worker.stop(StopReason.MEMORY)

    def _over(self, process: Process, item: WorkItem, outcome: Outcome, now: float) -> None:
        """An attempt is over, however it ended."""
        worker, options = self._worker, self._worker.options
        worker.done += 1
        worker.window_sizer.observe(item.reservation.name, outcome.duration, now)
        if item.number in process.cancelled and not outcome.settled:
            process.cancelled.remove(item.number)
            worker.exchanger.note_unconfirmed(item.reservation, outcome)
        else:
            worker.exchanger.note(item.reservation, outcome)
        if options.rest:
            worker.schedule.rest_until = now + options.rest
        if options.max_jobs and worker.done >= options.max_jobs:
            worker.stop(StopReason.ONCE if options.once else StopReason.MAX_JOBS)

    def send(self) -> None:
        """Give the children's pipes what they take; one that is full says when it is not."""
        for process in self._worker.children.processes:
            self._wait_to_send(process, wait=process.send())

    def _wait_to_send(self, process: Process, *, wait: bool) -> None:
        if wait and process not in self._full_pipes:
            self._full_pipes.add(process)
            self._selector.register(process.ends.work, selectors.EVENT_WRITE, WRITABLE)
        elif not wait and process in self._full_pipes:
            self._full_pipes.remove(process)
            self._selector.unregister(process.ends.work)

    def take_back(self, process: Process) -> None:
        """What a child has not begun goes to others, or back to the store."""
        taken = process.take_back()
        for item in reversed(taken):
            if isinstance(item, NoticeItem):
                self._worker.buffer.notices.appendleft(item.notice)
        self._worker.buffer.put_first(
            item.reservation for item in taken if isinstance(item, WorkItem)
        )

    def relieve(self, now: float) -> None:
        """Nobody waits behind a job that runs for long."""
        for process, item in list(self._worker.children.behind_a_long_one(now)):
            running = process.running()
            if isinstance(item, WorkItem):
                self._worker.window_sizer.observe(
                    item.reservation.name, now - running[1].since if running else 1, now
                )
            process.full = True
            self.take_back(process)

    def start_children(self, now: float) -> None:
        """Replace those that have ended; not while the lease is over, since others have the jobs
        by now, and on the way out only for the sake of a notice.
        """
        wanted = self._worker.reason is None or bool(self._worker.buffer.notices)
        if not wanted or now >= self._worker.lease.over_at:
            return
        for process in self._worker.children.start_missing(now):
            self._selector.register(process.ends.outcomes, selectors.EVENT_READ, process)
        self.hear_warden()

    def hear_warden(self) -> None:
        """Start one if there is none, and listen to it."""
        children = self._worker.children
        link = children.link or children.start_warden()
        if link is not self._heard:
            self._heard = link
            self._selector.register(link, selectors.EVENT_READ, link)

    def reap(self) -> None:
        """See to the children that have ended."""
        children, left = self._worker.children, False
        for exited in children.reap():
            process = exited.process
            self.listen(process)
            self.take_back(process)
            children.note_exit(process)
            left = left or exited.reason is Reason.LEASE
            for item in process.held.values():
                self._lost_with(exited, item)
            self._stop_listening(process)
            self._wait_to_send(process, wait=False)
            process.close()
        if left:
            logger.warning("The store was away for too long: its jobs were stopped.")
        if self._heard is not None and children.link is not self._heard:
            self._selector.unregister(self._heard)
            self._heard = None

    def _stop_listening(self, process: Process) -> None:
        """The end of a pipe calls without end."""
        if process.ends.outcomes in self._selector.get_map():
            self._selector.unregister(process.ends.outcomes)

    def _lost_with(self, exited: ExitedChild, item: WorkItem | NoticeItem) -> None:
        if isinstance(item, NoticeItem):
            logger.warning("%s ended its process.", what_it_is(item.notice))
            return
        outcome = outcome_of(
            exited, item, self._worker.child_settings, self._worker.options.memory_kill << 20
        )
        if outcome.ending in (Ending.DIED, Ending.TIMED_OUT) and outcome.error is not None:
            outcome = outcome._replace(error=outcome.error._replace(place=HARD))
        now = clock.now()
        if (running := exited.process.running()) and running[0] is item:
            outcome = outcome._replace(duration=now - running[1].since)
        self._over(exited.process, item, outcome, now)
