"""The children of a worker: started, fed, heard, watched and reaped."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from djqueue.drivers import clock
from djqueue.drivers.base import Reservation
from djqueue.runner.decision import LOST
from djqueue.runner.outcome import End
from djqueue.worker.children.channel import NoticeItem, WorkItem
from djqueue.worker.children.facts import (
    Delivered,
    Ended,
    ExitedChild,
    Fact,
    LongRunning,
    Unbegun,
    end_of,
)
from djqueue.worker.children.page import Reason, Slot, StatusPage
from djqueue.worker.children.process import (
    STUCK_AFTER,
    Broken,
    Cancelled,
    ChildState,
    Process,
    Stopped,
    TooLarge,
)
from djqueue.worker.children.settings import ChildSettings
from djqueue.worker.events import Events
from djqueue.worker.machine import resident
from djqueue.worker.notices import what_it_is
from djqueue.worker.schedule import NEVER
from djqueue.worker.store.presence import Activity
from djqueue.worker.warden.link import Link
from djqueue.worker.warden.warden import PARENT_TIME
from djqueue.worker.warden.wardens import Wardens

if TYPE_CHECKING:
    from djqueue.drivers.base import Driver

logger = logging.getLogger("djqueue.worker")

_FAST_DEATH = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 30.0
_PATIENCE = 3
"""Deaths in a row before anything was begun, after which the next child is started later."""
_SILENT, _SILENT_AT_START, _SILENT_WITHOUT_CHANNEL = 15.0, 120.0, 1.0
"""Seconds in which a child that holds something and runs nothing may say nothing: usually, before
it waits for work for the first time, and when nothing can come any more."""
_TO_END = 2.0
"""Seconds in which idle children end by themselves."""
_WRITABLE = object()
"""The data of an event of a pipe that takes more: the next `send` uses it."""


class Children:
    """Keeps `size` children alive while the worker accepts work. What happens to them and to their
    work is returned as facts, in order; nothing here acts upon them.
    """

    def __init__(
        self,
        size: int,
        settings: ChildSettings,
        driver: Driver,
        events: Events | None = None,
    ) -> None:
        """Pipes and the warden are among `events`; `poll` takes what they bring."""
        self.size = size
        self.settings = settings
        self.processes: list[Process] = []
        self.page = StatusPage.create(size)
        self.wardens = Wardens(settings, self.page, driver, events.interrupts if events else None)
        self.lease_end = 0.0
        self._selector = events.selector if events else selectors.DefaultSelector()
        self._full_pipes: set[Process] = set()
        self._start_at = 0.0
        self._failures = 0
        self._dead: list[ExitedChild] = []

    # -- starting ------------------------------------------------------------------------------

    def start_warden(self) -> Link:
        """Start a warden, and listen to it."""
        link = self.wardens.start()
        self._selector.register(link, selectors.EVENT_READ, link)
        return link

    def start_missing(self, now: float) -> list[Process]:
        """Start the missing children; ever more slowly while children die before they begin
        anything, or cannot be started.
        """
        born: list[Process] = []
        while len(self.processes) < self.size and now >= self._start_at:
            try:
                process = self._start(self._free_slot())
            except OSError as error:
                self._could_not_start(error)
                break
            self.processes.append(process)
            born.append(process)
        return born

    def _free_slot(self) -> Slot:
        used = {process.slot.number for process in self.processes}
        slot = next(slot for slot in self.page.slots if slot.number not in used)
        slot.clear()
        return slot

    def _start(self, slot: Slot) -> Process:
        link = self.wardens.link or self.start_warden()
        process = Process(slot, link.start(slot), link)
        process.lease_until(self.lease_end)
        self._selector.register(process.ends.outcomes, selectors.EVENT_READ, process)
        return process

    @property
    def start_at(self) -> float:
        """Return when a missing child may be started."""
        return self._start_at if len(self.processes) < self.size else NEVER

    # -- hearing -------------------------------------------------------------------------------

    def poll(self, ready: Iterable[object]) -> list[Fact]:
        """Return what has happened. `ready` is the data of the selector's events."""
        facts: list[Fact] = []
        for source in ready:
            if isinstance(source, Process):
                if not source.ends.closed:
                    self._read(source, facts)
            elif isinstance(source, Link):
                self._reap(facts)
        return facts

    def _read(self, process: Process, facts: list[Fact]) -> None:
        """Take the reports of a child."""
        ends: list[End] = []
        for item, outcome, memory in process.reports():
            if isinstance(item, NoticeItem):
                facts.append(Delivered(item.notice))
            elif outcome is not None:
                lost = process.cancelled and process.was_cancelled(item, outcome)
                end = outcome._replace(ending=LOST) if lost else outcome
                ends.append(End(item.reservation, end))
                if memory:
                    facts.append(Ended(ends, memory))
                    ends = []
                if outcome.spoilt:
                    process.retire()
        if ends:
            facts.append(Ended(ends))
        if process.state is ChildState.ENDING:
            facts.append(_unbegun(process))
        if process.mute_since is not None:
            self._stop_listening(process)  # the end of a pipe is readable for ever

    def _reap(self, facts: list[Fact]) -> None:
        """Account for the children that have exited, and for all jobs that they held."""
        lease_ended = False
        for exited in self.exits():
            process = exited.process
            self._read(process, facts)
            facts.append(_unbegun(process))
            self._slow_down(process)
            lease_ended = lease_ended or exited.reason is Reason.LEASE
            for item in process.held.values():
                if isinstance(item, WorkItem):
                    facts.append(Ended([end_of(exited, item, self.settings, clock.now())]))
                else:
                    logger.warning("%s ended its process.", what_it_is(item.notice))
            process.close()
        if lease_ended:
            logger.warning("The store was away for too long: its jobs were stopped.")

    def exits(self) -> Iterator[ExitedChild]:
        """Return the children that have exited since the last call."""
        if self.wardens.link is not None:
            try:
                for report in self.wardens.link.reports():
                    process = self._in_slot(report.slot)
                    if process is not None:
                        self._remove(process, report.status if report.died else 0)
                        if not report.died:
                            why = os.strerror(report.status)
                            self._could_not_start(OSError(report.status, why))
            except EOFError:
                self._lose_warden(self.wardens.link)
        dead, self._dead = self._dead, []
        yield from dead

    def _remove(self, process: Process, status: int) -> None:
        self.processes.remove(process)
        process.state = ChildState.EXITED
        self._stop_listening(process)
        self._wait_to_send(process, wait=False)
        self._dead.append(ExitedChild.of(process, status))

    def _lose_warden(self, link: Link) -> None:
        self._selector.unregister(link)
        for process in list(self.processes):
            process.slot.ended(Reason.WARDEN)
            self._remove(process, signal.SIGKILL)
        self.wardens.lose()

    def _in_slot(self, number: int) -> Process | None:
        return next((p for p in self.processes if p.slot.number == number), None)

    def _stop_listening(self, process: Process) -> None:
        if process.ends.outcomes in self._selector.get_map():
            self._selector.unregister(process.ends.outcomes)

    def _slow_down(self, process: Process) -> None:
        """Delay the next start if children die one after the other at their start."""
        if process.has_begun or process.held:
            self._failures = 0
        elif process.killed_for is None and not process.slot.reason:
            fast = clock.now() - process.started < _FAST_DEATH or not process.slot.is_up
            self._failures += fast
        if self._failures > _PATIENCE:
            why = f"{self._failures} children in a row have ended before they began anything."
            self._pause(self._failures - _PATIENCE, why)

    def _could_not_start(self, error: OSError) -> None:
        self._failures += 1
        self._pause(self._failures, f"A child could not be started ({error}).")

    def _pause(self, times: int, why: str) -> None:
        pause = min(_FIRST_PAUSE**times, _LONGEST_PAUSE)
        self._start_at = clock.now() + pause
        logger.warning("%s The next one is started in %.0f s.", why, pause)

    # -- work ----------------------------------------------------------------------------------

    def able(self) -> list[Process]:
        """Return the children that take work, the emptiest first."""
        able = [process for process in self.processes if process.takes_work]
        return sorted(able, key=lambda process: len(process.held))

    @property
    def busy(self) -> bool:
        """Return whether a child holds anything."""
        return any(process.held for process in self.processes)

    def activity(self, now: float) -> Activity:
        """Return what runs, and the memory of this process and of all children."""
        found = [(process.running(), process.pid) for process in self.processes]
        running = [
            (item.reservation.id, item.reservation.name, now - began.since)
            for item, began in (each for each, _pid in found if each is not None)
            if isinstance(item, WorkItem)
        ]
        pids = [os.getpid(), *(pid for _running, pid in found if pid)]
        return Activity(running, sum(map(resident, pids)))

    def held(self) -> Iterator[Reservation]:
        """Return every reservation that a child holds."""
        for process in self.processes:
            yield from process.jobs()

    def running(self) -> list[str]:
        """Return the names of the jobs that run at this moment."""
        found = [process.running() for process in self.processes]
        return [
            each[0].reservation.name for each in found if each and isinstance(each[0], WorkItem)
        ]

    def send(self) -> None:
        """Write to the children's pipes as much as they take; a full pipe wakes the loop later."""
        for process in self.processes:
            self._wait_to_send(process, wait=process.send())

    def _wait_to_send(self, process: Process, *, wait: bool) -> None:
        if wait and process not in self._full_pipes:
            self._full_pipes.add(process)
            self._selector.register(process.ends.work, selectors.EVENT_WRITE, _WRITABLE)
        elif not wait and process in self._full_pipes:
            self._full_pipes.remove(process)
            self._selector.unregister(process.ends.work)

    def take_back(self) -> list[Fact]:
        """Take back all items that have not been begun."""
        return [_unbegun(process) for process in self.processes]

    def take_back_behind_long_jobs(self, now: float) -> list[Fact]:
        """Take back the items that wait in children whose job has been running for long."""
        facts: list[Fact] = []
        for process in self.processes:
            if len(process.held) > 1 and (found := process.running()):
                item, running = found
                if now - running.since > STUCK_AFTER:
                    if isinstance(item, WorkItem):
                        name, seconds = item.reservation.name, now - running.since
                        facts.append(LongRunning(name, seconds))
                    process.fill()
                    facts.append(_unbegun(process))
        return facts

    def cancel(self, ids: set[str]) -> None:
        """Let the jobs called `ids` see that they are lost."""
        for process in self.processes if ids else ():
            for item in process.held.values():
                if isinstance(item, WorkItem) and item.reservation.id in ids:
                    process.cancel(item)

    def stop(self, ids: Collection[str]) -> list[Fact]:
        """Kill the children that run the jobs called `ids`. What waits in them is taken back first,
        so that no other job begins there meanwhile, and those of the jobs that wait are not begun.
        """
        facts: list[Fact] = []
        for process in self.processes:
            if any(job.id in ids for job in process.jobs()):
                process.fill()
                facts.append(_unbegun(process))
                item = found[0] if (found := process.running()) else None
                if isinstance(item, WorkItem) and item.reservation.id in ids:
                    process.kill(Cancelled(item.number))
        return facts

    # -- limits --------------------------------------------------------------------------------

    def lease_until(self, at: float) -> None:
        """Set the end of the lease of all that children hold, and are given from now on: the end of
        the worker's lease, less a margin, counted from before the last request that renewed it.
        """
        if at != self.lease_end:
            self.lease_end = at
            for process in self.processes:
                process.lease_until(at)

    def kill_silent(self, now: float) -> None:
        """Kill children that cannot report on their jobs, or that do nothing although they hold
        some.
        """
        for process in self.processes:
            silence, mute = process.silence(now), process.mute_since
            if mute is not None and now - mute > _SILENT_WITHOUT_CHANNEL:
                process.kill(Broken("Its process closed the channel of its outcomes."))
            elif silence > (_SILENT if process.slot.is_up else _SILENT_AT_START):
                process.kill(Broken(f"Its process held jobs and did nothing for {silence:.0f} s."))

    def kill_larger_than(self, limit: int) -> None:
        """Kill children that have grown above `limit` bytes during a job."""
        for process in self.processes:
            if process.held and process.pid:
                used = resident(process.pid)
                if used > limit:
                    process.kill(TooLarge(used, limit))

    def kill_all(self, why: str) -> None:
        """End every child at once; `why` is recorded as the reason of the interruption."""
        for process in self.processes:
            process.kill(Stopped(why))

    def close(self) -> None:
        """Let idle children end by themselves, and make sure that they do."""
        for process in self.processes:
            process.close()
        deadline = clock.now() + _TO_END
        if self.page.stop_at:  # the warden has a deadline for this process as well
            deadline = max(clock.now(), min(deadline, self.page.stop_at + PARENT_TIME - 0.5))
        while self.processes and self.wardens.link is not None and clock.now() < deadline:
            list(self.exits())
            time.sleep(0.005)
        self.wardens.close()
        self.processes.clear()
        self.page.close()


def _unbegun(process: Process) -> Unbegun:
    taken = process.take_back()
    return Unbegun(
        [item.reservation for item in taken if isinstance(item, WorkItem)],
        [item.notice for item in taken if isinstance(item, NoticeItem)],
    )
