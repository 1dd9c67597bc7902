"""The children of a worker: started, fed, watched and reaped."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from django.db import connections

from djqueue.drivers.base import Reservation
from djqueue.finish import deaths as postmortem
from djqueue.runner.outcome import Outcome
from djqueue.worker import clock
from djqueue.worker.children.channel import NoticeItem, WorkItem
from djqueue.worker.children.memory import resident
from djqueue.worker.children.page import Reason, StatusPage
from djqueue.worker.children.process import STUCK_AFTER, Process
from djqueue.worker.children.settings import ChildSettings
from djqueue.worker.interrupts import Interrupts
from djqueue.worker.warden import orphans
from djqueue.worker.warden.link import Link
from djqueue.worker.warden.spawn import allow_descriptors, by_exec
from djqueue.worker.warden.warden import PARENT_TIME

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
_DESCRIPTORS = 8
"""Descriptors that a child takes in the parent, with some to spare."""


class ExitedChild(NamedTuple):
    """A child that has ended."""

    process: Process
    status: int
    """As `os.waitpid` gives it."""
    reason: Reason
    after: float
    """Seconds that its job had run, where the warden has ended it."""


class Children:
    """Keeps `size` children alive while the worker accepts work. A warden starts and ends them."""

    def __init__(
        self,
        size: int,
        settings: ChildSettings,
        driver: Driver,
        interrupts: Interrupts | None = None,
    ) -> None:
        """`interrupts` has where a warden hears the signals of this process."""
        self.size = size
        self.processes: list[Process] = []
        self.page = StatusPage.create(size)
        self.link: Link | None = None
        self.lease_end = 0.0
        self._settings = settings
        self._driver = driver
        self._interrupts = interrupts
        self._wardens = 0
        self._start_at = 0.0
        self._failures = 0
        self._dead: list[ExitedChild] = []
        self._ours: list[int] = []
        """Children of this process that are no business of a warden's."""

    # -- the warden ----------------------------------------------------------------------------

    def start_warden(self) -> Link:
        """Start one. The first is forked, so what must not be in two processes is closed before."""
        if not self._wardens:
            allow_descriptors(64 + self.size * _DESCRIPTORS)
            self._close_stores()
            self._ours = orphans.children()
        link = Link(
            self._settings,
            self.page,
            self._interrupts,
            forks=not by_exec(),
            first=not self._wardens,
        )
        self._wardens += 1
        self.link = link
        return link

    def _close_stores(self) -> None:
        """A connection, or a thread of its pool, would be in two processes."""
        self._driver.close()
        for connection in connections.all(initialized_only=True):
            connection.close()
            if getattr(connection, "pool", None) is not None:
                connection.close_pool()  # type: ignore[attr-defined]

    def _lose_warden(self) -> None:
        """It was killed, and by the kernel's promise its children with it: make sure of that."""
        link, self.link = self.link, None
        if link is None:
            return
        link.close()
        logger.warning("The warden (process %d) has ended; a new one is started.", link.pid)
        for process in self.processes:
            process.slot.ended(Reason.WARDEN)
            self._dead.append(_exited(process, signal.SIGKILL))
        self.processes.clear()
        _reap(link.pid)
        _end_what_fell_to_us(self._ours)

    def reap_orphans(self) -> None:
        """Let go of orphans that fell to this process and have ended: to the first of a container,
        or past a warden that was killed.
        """
        for pid in orphans.children():
            if pid not in self._ours and (self.link is None or pid != self.link.pid):
                _reap(pid, os.WNOHANG)

    # -- births and deaths ---------------------------------------------------------------------

    def start_missing(self, now: float) -> list[Process]:
        """Start what is missing; ever more slowly while children die before they begin anything,
        or cannot be started.
        """
        born: list[Process] = []
        while len(self.processes) < self.size and now >= self._start_at:
            used = {process.slot.number for process in self.processes}
            slot = next(slot for slot in self.page.slots if slot.number not in used)
            slot.clear()
            try:
                link = self.link or self.start_warden()
                ends = link.start(slot)
            except OSError as error:
                self._could_not_start(error)
                break
            process = Process(slot, ends, link)
            process.lease_until(self.lease_end)
            self.processes.append(process)
            born.append(process)
        return born

    @property
    def start_at(self) -> float | None:
        """When a missing child may be started, or None if none is missing."""
        return self._start_at if len(self.processes) < self.size else None

    def reap(self) -> Iterator[ExitedChild]:
        """The children that have ended since the last call."""
        if self.link is not None:
            try:
                for report in self.link.reports():
                    process = self._in_slot(report.slot)
                    if process is not None:
                        self.processes.remove(process)
                        self._dead.append(_exited(process, report.status if report.died else 0))
                        if not report.died:
                            why = os.strerror(report.status)
                            self._could_not_start(OSError(report.status, why))
            except EOFError:
                self._lose_warden()
        dead, self._dead = self._dead, []
        yield from dead

    def _in_slot(self, number: int) -> Process | None:
        return next((p for p in self.processes if p.slot.number == number), None)

    def note_exit(self, process: Process) -> None:
        """All that a dead child had to say was heard. Was it a crash loop?"""
        if process.has_begun or process.held:
            self._failures = 0
        elif process.doomed is None and not process.slot.reason:
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

    def close(self) -> None:
        """Let idle children end by themselves, and make sure of it."""
        for process in self.processes:
            process.close()
        deadline = clock.now() + _TO_END
        if self.page.stop_at:  # the warden has a deadline for this process as well
            deadline = max(clock.now(), min(deadline, self.page.stop_at + PARENT_TIME - 0.5))
        while self.processes and self.link is not None and clock.now() < deadline:
            list(self.reap())
            time.sleep(0.005)
        if self.link is not None:
            self.link.close()  # the warden ends what is left, and itself
            _reap(self.link.pid)
            self.link = None
        self.processes.clear()
        self.page.close()

    def lease_until(self, at: float) -> None:
        """What children hold, and what they are given, is ours until `at`: the end of the lease,
        less a margin, counted from before the last request that renewed it.
        """
        self.lease_end = at
        for process in self.processes:
            process.lease_until(at)

    # -- work ----------------------------------------------------------------------------------

    def able(self) -> list[Process]:
        """Children that may be given something, the emptiest first."""
        able = [p for p in self.processes if p.doomed is None and not p.spoilt]
        return sorted(able, key=lambda process: len(process.held))

    @property
    def busy(self) -> bool:
        """Whether a child holds anything."""
        return any(process.held for process in self.processes)

    def held(self) -> Iterator[Reservation]:
        """Every reservation that a child holds."""
        for process in self.processes:
            for item in process.held.values():
                if isinstance(item, WorkItem):
                    yield item.reservation

    def behind_a_long_one(self, now: float) -> Iterator[tuple[Process, WorkItem | NoticeItem]]:
        """Children in which others wait behind a job that runs for long already."""
        for process in self.processes:
            if len(process.held) > 1 and (found := process.running()):
                item, running = found
                if now - running.since > STUCK_AFTER:
                    yield process, item

    # -- limits --------------------------------------------------------------------------------

    def enforce_speech(self, now: float) -> None:
        """Kill what cannot say what became of its jobs, or does nothing although it holds some."""
        for process in self.processes:
            silence, mute = process.silence(now), process.mute_since
            if mute is not None and now - mute > _SILENT_WITHOUT_CHANNEL:
                process.give_up("Its process closed the channel of its outcomes.")
            elif silence > (_SILENT if process.slot.is_up else _SILENT_AT_START):
                process.give_up(f"Its process held jobs and did nothing for {silence:.0f} s.")

    def enforce_memory(self, limit: int) -> None:
        """Kill what has grown above `limit` bytes during a job."""
        for process in self.processes:
            if process.doomed is None and process.held and process.pid:
                used = resident(process.pid)
                if used > limit:
                    process.abort(f"memory:{used}", dump=False)

    def kill_all(self, why: str) -> None:
        """End every child at once; `why` goes on record as the reason of the interruption."""
        for process in self.processes:
            process.abort(why, dump=False)


def outcome_of(
    exited: ExitedChild, item: WorkItem, settings: ChildSettings, memory_kill: int
) -> Outcome:
    """What became of the item that a dead child had begun."""
    process, rules, reservation = exited.process, settings.rules, item.reservation
    if exited.reason is Reason.TIMEOUT:
        return postmortem.timed_out(reservation, rules, exited.after, process.dump())
    if exited.reason in _INTERRUPTED:
        why = _INTERRUPTED[exited.reason].format(grace=settings.grace)
        return postmortem.interrupted(reservation, rules, why, stopped=exited.reason in _STOPPED)
    kind, _, number = (process.doomed or "").partition(":")
    if kind == "memory":
        return postmortem.grew(reservation, rules, int(number), memory_kill)
    if kind:
        return postmortem.interrupted(reservation, rules, kind, stopped=not process.is_broken)
    return postmortem.died(reservation, rules, exited.status, process.dump())


_INTERRUPTED = {
    Reason.LEASE: "Its worker could not reach the store and stopped it before its lease ended.",
    Reason.GRACE: "It was stopped by a shutdown after --grace {grace:g} s.",
    Reason.SECOND_SIGNAL: "It was stopped by a second signal to its worker.",
    Reason.WARDEN: "The process that watches over it was killed, and it ended with that.",
}

_STOPPED = (Reason.GRACE, Reason.SECOND_SIGNAL)
"""Orderly ends of a worker."""


def _exited(process: Process, status: int) -> ExitedChild:
    return ExitedChild(process, status, process.slot.reason, process.slot.after)


def _end_what_fell_to_us(ours: list[int]) -> None:
    """The warden's children, whom the kernel kills with it, and what they have started."""
    deadline = clock.now() + _TO_END
    while clock.now() < deadline and orphans.end((), ours):
        for pid in orphans.children():
            if pid not in ours:
                _reap(pid, os.WNOHANG)
        time.sleep(0.001)


def _reap(pid: int, how: int = 0) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, how)
