"""The warden: a process that starts, signals and reaps a worker's children, and does nothing else.

It speaks to no store and runs no user code, so nothing can keep it from ending what has to end:
whatever the parent waits for, at its hard timeout, at the end of its lease, of the grace after a
signal and of the parent a child is killed, with its process group and with what it has started.
Each death is reported to the parent, with the wait status, and finds the reason in the child's
slot.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from djqueue.drivers import clock
from djqueue.worker.children.page import ENDING, Reason, Slot, StatusPage
from djqueue.worker.warden import orphans

ORDER = struct.Struct("<BxH")
"""From the parent: what, and the number of a slot. A start brings descriptors with it."""
START, KILL = 1, 2
DESCRIPTORS = 4
REPORT = struct.Struct("<BxHi")
"""To the parent: what, the number of a slot, and a wait status or an error number."""
DIED, NOT_STARTED = 1, 2

DUMP_TIME = 1.0
"""Seconds between SIGABRT, which dumps the stacks, and SIGKILL."""
PARENT_TIME = 1.5
"""Seconds after the grace in which the parent may hand back what it holds."""
LOOK, LOOK_IDLE = 0.1, 0.25
"""The longest time between two looks at the page: children begin jobs without telling."""
STOP = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
_NEVER = float("inf")


@dataclass
class LivingChild:
    """A living child."""

    slot: Slot
    pid: int
    kill_at: float = _NEVER
    """When SIGKILL follows a SIGABRT."""


@dataclass(frozen=True)
class Ties:
    """What connects a warden with its worker."""

    link: socket.socket
    """Orders come from it, reports go to it; it ends when the parent does."""
    signals: int
    """The numbers of the signals that the parent gets, or -1."""
    parent: int
    grace: float


class Warden:
    """One loop, until the parent is gone."""

    def __init__(
        self, ties: Ties, page: StatusPage, start: Callable[[Slot, list[int], list[int]], int]
    ) -> None:
        self._ties = ties
        self._page = page
        self._start = start
        self._children: dict[int, LivingChild] = {}
        self._at_once = False
        """A signal came while the worker was on its way out already."""
        self._parent_end = _NEVER
        self._orphaned = False
        self._unsent = b""
        self._woken, self._wake = os.pipe()
        for descriptor in (self._woken, self._wake):
            os.set_blocking(descriptor, False)
        ties.link.setblocking(False)
        self._poll = select.poll()
        for descriptor in self._own_descriptors():
            self._poll.register(descriptor, select.POLLIN)
        self._poll.unregister(self._wake)

    def run(self) -> None:
        """Run until the parent is gone; then end everything."""
        signal.signal(signal.SIGCHLD, do_nothing)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
        orphans.adopt()
        try:
            while self._turn():
                pass
        finally:
            self._end_everything()

    def _own_descriptors(self) -> list[int]:
        own = [self._ties.link.fileno(), self._woken, self._wake]
        return own if self._ties.signals < 0 else [*own, self._ties.signals]

    def _turn(self) -> bool:
        goes_on = True
        for descriptor, _ in self._poll.poll(self._until_next_look() * 1000):
            if descriptor == self._woken:
                _drain(self._woken)
            elif descriptor == self._ties.signals:
                self._hear(_drain(descriptor))
            else:
                goes_on = self._obey()
        self._look(clock.now())
        self._reap_all()
        if self._orphaned:
            self._orphaned = orphans.end(self._pids)
        self._send()
        return goes_on and os.getppid() == self._ties.parent

    # -- what the parent wants -----------------------------------------------------------------

    def _obey(self) -> bool:
        """Carry out an order. Return False when the parent is gone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._ties.link, ORDER.size, DESCRIPTORS)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if len(data) < ORDER.size:
            return False
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        what, number = ORDER.unpack(data)
        slot = self._page.slots[number]
        if what == START:
            self._begin(slot, descriptors)
        elif child := self._children.get(number):
            self._end(child, Reason.ASKED, dump=False)
        return True

    def _begin(self, slot: Slot, descriptors: list[int]) -> None:
        try:
            pid = self._start(slot, descriptors, self._own_descriptors())
        except OSError as error:
            self._report(NOT_STARTED, slot, error.errno or 0)
        else:
            slot.pid = pid
            self._children[slot.number] = LivingChild(slot, pid)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _report(self, what: int, slot: Slot, status: int) -> None:
        self._unsent += REPORT.pack(what, slot.number, status)
        self._send()

    def _send(self) -> None:
        """Send what the link takes, and the rest later: a parent that is stopped reads nothing."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self._unsent:
                self._unsent = self._unsent[self._ties.link.send(self._unsent) :]

    # -- signals of the parent -----------------------------------------------------------------

    def _hear(self, numbers: bytes) -> None:
        for number in numbers:
            if number not in STOP:
                continue
            now = clock.now()
            if self._page.stop_at:
                self._at_once = True
                self._page.stop_at = min(self._page.stop_at, now)
            else:
                self._page.stop_at = now + self._ties.grace
            self._parent_end = self._page.stop_at + PARENT_TIME

    # -- ends ----------------------------------------------------------------------------------

    def _until_next_look(self) -> float:
        """Return the seconds to wait, at most as long as a new deadline may go unnoticed."""
        now = clock.now()
        busy = any(child.slot.held for child in self._children.values())
        until = now + (LOOK if busy else LOOK_IDLE)
        for child in self._children.values():
            until = min(until, child.kill_at, self._deadline(child)[0])
        return max(0.0, min(until, self._parent_end) - now)

    def _deadline(self, child: LivingChild) -> tuple[float, Reason]:
        """Return when this child is to be ended, and the reason."""
        slot = child.slot
        if slot.reason:
            return _NEVER, Reason.NONE
        found = _NEVER, Reason.NONE
        running = slot.running()
        if running and running.hard:
            found = running.hard, Reason.TIMEOUT
        if (lease_end := slot.lease_end) and lease_end < found[0]:
            found = lease_end, Reason.LEASE
        stop_at = self._page.stop_at
        if stop_at and stop_at < found[0] and (running or slot.held):
            found = stop_at, Reason.SECOND_SIGNAL if self._at_once else Reason.GRACE
        return found

    def _look(self, now: float) -> None:
        for child in self._children.values():
            at, reason = self._deadline(child)
            if now >= at:
                self._end(child, reason, dump=reason is Reason.TIMEOUT)
            elif now >= child.kill_at:
                child.kill_at = _NEVER
                orphans.kill_group(child.pid)
        if now >= self._parent_end:
            self._end_parent()

    def _end(self, child: LivingChild, reason: Reason, *, dump: bool) -> None:
        """Kill a child; with `dump` a second after SIGABRT, which writes every thread's stack."""
        now = clock.now()
        running = child.slot.running()
        ending = running is not None and running.number == ENDING
        child.slot.ended(reason, now - running.since if running else 0.0)
        if dump and not ending and child.kill_at == _NEVER:
            os.kill(child.pid, signal.SIGABRT)
            child.kill_at = now + DUMP_TIME
        else:
            child.kill_at = _NEVER
            orphans.kill_group(child.pid)

    def _end_parent(self) -> None:
        """End the parent: it has had its time to hand back its jobs, and waits for something that
        does not come.
        """
        self._parent_end = _NEVER
        if os.getppid() != self._ties.parent:
            return
        held = sum(slot.held for slot in self._page.slots)
        jobs = "1 job" if held == 1 else f"{held} jobs"
        _say(
            f"The worker did not end within {PARENT_TIME:g} s of its grace, so it was killed. It"
            f" held {jobs}, which others take over when the lease ends.\n"
        )
        os.kill(self._ties.parent, signal.SIGKILL)

    # -- deaths --------------------------------------------------------------------------------

    @property
    def _pids(self) -> dict[int, LivingChild]:
        return {child.pid: child for child in self._children.values()}

    def _reap_all(self) -> None:
        """Reap the processes that have ended: children, and orphans that fell to the warden."""
        pids = self._pids
        while (found := _next_death(pids)) is not None:
            pid, status = found
            child = pids.pop(pid, None)
            if child is not None:
                orphans.kill_group(pid)
                del self._children[child.slot.number]
                self._orphaned = orphans.end(self._pids, [pid])
                # Before its number is free: the parent may have to end its group itself.
                self._report(DIED, child.slot, status)
            _reap(pid)

    def _end_everything(self) -> None:
        """End everything, as the parent is gone."""
        for child in self._children.values():
            orphans.kill_group(child.pid)
        deadline = clock.now() + 2.0
        while clock.now() < deadline:
            self._reap_all()
            if not self._children and not orphans.end(()):
                return
            self._poll.poll(5)
            _drain(self._woken)


if sys.platform == "linux" or sys.version_info >= (3, 13):

    def _next_death(pids: dict[int, LivingChild]) -> tuple[int, int] | None:
        """Return a process that has ended, with its wait status. Its number is still its own."""
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return None
        if found is None:
            return None
        exited = found.si_code == os.CLD_EXITED
        return found.si_pid, found.si_status << 8 if exited else found.si_status

    def _reap(pid: int) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)

else:

    def _next_death(pids: dict[int, LivingChild]) -> tuple[int, int] | None:
        """Return the same where Python cannot look without reaping: the number is free from here
        on.
        """
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    return found, status
        return None

    def _reap(pid: int) -> None:
        """Do nothing: it is done already."""


def do_nothing(number: int, frame: FrameType | None) -> None:
    """Handle a signal in place of SIG_IGN, which programs that are started would inherit."""


def _drain(descriptor: int) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return os.read(descriptor, 4096)
    return b""


def _say(text: str) -> None:
    """Print a line, but never wait for its reader."""
    with contextlib.suppress(OSError):
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        if any(event & select.POLLOUT for _, event in poll.poll(0)):
            os.write(2, text.encode())
