"""What the parent knows of one child."""

from __future__ import annotations

import enum
import os
from collections.abc import Sequence
from typing import NamedTuple

from djqueue.drivers import clock
from djqueue.drivers.base import Reservation
from djqueue.finish.deaths import stacks
from djqueue.runner.outcome import Outcome
from djqueue.worker.children.channel import (
    TOKEN,
    GarbledError,
    NoticeItem,
    OutcomeReader,
    WorkItem,
    encode_notice,
    encode_window,
)
from djqueue.worker.children.page import Running, Slot
from djqueue.worker.notices import Notice
from djqueue.worker.warden.link import Link, ParentEnds

GARBLED = "Its process wrote something else where its outcomes belong, so they could not be read."
STUCK_AFTER = 0.1
"""Seconds after which the work behind a running job is taken back."""


ItemReport = tuple[WorkItem | NoticeItem, Outcome | None, int]
"""What a child was given, how it ended (None: a notice was delivered), and the bytes the child
occupies, where that is above ``--memory``."""


class ChildState(enum.Enum):
    """What a child may be given. `docs/internals.md` has the picture."""

    STARTING = "starting"
    """It has been given nothing yet. Work that comes before it is up waits in its pipes."""
    IDLE = "idle"
    """It holds nothing."""
    BUSY = "busy"
    """It holds work, and takes more."""
    FULL = "full"
    """It holds work, and takes no more before it has reported all of that."""
    ENDING = "ending"
    """It takes no more work: a soft timeout left it unfit, or its channel is broken."""
    KILLED = "killed"
    """The warden was asked to end it; `Process.killed_for` says why."""
    EXITED = "exited"
    """It is gone."""


_TAKES_WORK = (ChildState.IDLE, ChildState.BUSY, ChildState.STARTING)
_LIVES = (*_TAKES_WORK, ChildState.FULL, ChildState.ENDING)


class Stopped(NamedTuple):
    """A child is killed because its worker stops, or can go on no longer."""

    why: str


class Broken(NamedTuple):
    """A child is killed because it does not behave as a child."""

    why: str


class TooLarge(NamedTuple):
    """A child is killed because of its memory."""

    used: int
    """Bytes."""
    limit: int


class Cancelled(NamedTuple):
    """A child is killed because an operator stops the job that it runs."""

    number: int
    """That of the item."""


KillReason = Stopped | Broken | TooLarge | Cancelled


class Process:
    """A child: its pipes and what it holds. All descriptors are non-blocking here."""

    def __init__(self, slot: Slot, ends: ParentEnds, link: Link) -> None:
        self.slot = slot
        self.ends = ends
        self._link = link
        self.started = clock.now()
        self.state = ChildState.STARTING
        self.killed_for: KillReason | None = None
        self.held: dict[int, WorkItem | NoticeItem] = {}
        """What was handed over and is not reported yet, by number, in order."""
        self.lease_end = 0.0
        """When what is handed over may be taken over by others; 0: never."""
        self.has_begun = False
        """It has begun at least one item."""
        self.last_sign_at = clock.now()
        """When it last gave a sign of doing something."""
        self.mute_since: float | None = None
        """When it closed the channel of its outcomes, or wrote something else into it."""
        self.cancelled: set[int] = set()
        """Numbers of items whose job has learnt that it was lost, and may act upon that."""
        self.progress_stored = 0.0
        """The version of the last progress in its slot that is stored."""
        self._reader = OutcomeReader()
        self._next = 1
        self._unsent = bytearray()
        """Cut off at its front, which a `bytearray` does without copying the rest."""
        self._tokens = b""

    @property
    def pid(self) -> int:
        """Its process id; 0 until the warden has started it."""
        return self.slot.pid

    @property
    def takes_work(self) -> bool:
        """Return whether it may be given something."""
        return self.state in _TAKES_WORK

    # -- handing over --------------------------------------------------------------------------

    def lease_until(self, at: float) -> None:
        """Set the end of its lease, on `clock.now`: of every job that it holds, and of those handed
        over from now on. It is killed then, unless this is called again in time.
        """
        self.lease_end = at
        if any(isinstance(item, WorkItem) for item in self.held.values()):
            self.slot.lease_end = at

    def hand_over(self, reservations: Sequence[Reservation], *, alone: bool = False) -> None:
        """Give the child a window. Payloads go first, then the permission to begin them. `alone`:
        it gets nothing else before that window has ended.
        """
        numbers = range(self._next, self._next + len(reservations))
        items = list(map(WorkItem, numbers, reservations))
        self.held.update(zip(numbers, items, strict=True))
        self._next = numbers.stop
        if not self.slot.lease_end or self.lease_end < self.slot.lease_end:
            self.slot.lease_end = self.lease_end
        self._take_on(full=alone)
        self._unsent += encode_window(items)
        self._tokens += b"".join(map(TOKEN.pack, numbers))
        self.send()

    def notify(self, notice: Notice) -> None:
        """Give the child a notice to deliver."""
        note = NoticeItem(self._next, notice)
        self.held[note.number] = note
        self._next += 1
        self._take_on(full=False)
        self._unsent += encode_notice(note)
        self._tokens += TOKEN.pack(note.number)
        self.send()

    def _take_on(self, *, full: bool) -> None:
        self.slot.held = len(self.held)
        if self.takes_work:
            self.state = ChildState.FULL if full else ChildState.BUSY

    def fill(self) -> None:
        """Give the child nothing more before it has reported all that it holds."""
        if self.state is ChildState.BUSY:
            self.state = ChildState.FULL

    def send(self) -> bool:
        """Write as much as the pipes take. Return whether something is left."""
        try:
            while self._unsent:
                sent = self.ends.work.send(self._unsent)
                self.last_sign_at = clock.now()
                del self._unsent[:sent]
            while self._tokens:
                sent = os.write(self.ends.tokens, self._tokens)
                self._tokens = self._tokens[sent:]
        except BlockingIOError:
            return True
        except (BrokenPipeError, ConnectionResetError):
            self._unsent.clear()  # it is dead; its tokens stay, for `take_back`
        return False

    def take_back(self) -> list[WorkItem | NoticeItem]:
        """Return the items that were not begun, in order. They are no longer the child's.

        A payload that is half written is still sent to its end: without a token the child skips it,
        but without its rest the child would not understand the next one.
        """
        try:
            taken = os.read(self.ends.tokens_back, 1 << 16)
        except BlockingIOError:
            taken = b""
        taken, self._tokens = taken + self._tokens, b""
        indices = [index for (index,) in TOKEN.iter_unpack(taken)]
        back = [self.held.pop(index) for index in indices if index in self.held]
        self._count()
        return back

    def _count(self) -> None:
        """Keep the page true: a child that holds nothing has no lease that could end."""
        self.slot.held = len(self.held)
        if not self.held:
            self.slot.lease_end = 0.0
            if self.state in (ChildState.BUSY, ChildState.FULL):
                self.state = ChildState.IDLE

    # -- listening -----------------------------------------------------------------------------

    def reports(self) -> list[ItemReport]:
        """Return what the child has reported since the last call."""
        found: list[ItemReport] = []
        while self.mute_since is None:
            try:
                data = os.read(self.ends.outcomes, 1 << 16)
            except BlockingIOError:
                break
            if not data:
                self._is_mute()
                break
            self.last_sign_at = clock.now()
            try:
                self._understand(data, found)
            except GarbledError:
                # Attempts that ended are among what it said; which ones is not known any more.
                self._is_mute()
                self.kill(Broken(GARBLED))
                break
            self._count()
            if len(data) < 1 << 16:
                break
        return found

    def _is_mute(self) -> None:
        self.mute_since = clock.now()
        self.retire()

    def _understand(self, data: bytes, found: list[ItemReport]) -> None:
        held, upto = self.held, self._next
        for number, outcome, memory in self._reader.feed(data):
            if not 0 < number < upto:
                raise GarbledError
            item = held.pop(number, None)
            if item is not None:
                found.append((item, outcome, memory))
            self.has_begun = True

    def silence(self, now: float) -> float:
        """Return the seconds for which it has held something, run nothing, and reported nothing."""
        if not self.held or self.slot.running() is not None:
            self.last_sign_at = now
        return now - self.last_sign_at

    def is_free(self, now: float) -> bool:
        """Return whether it will soon begin what it is given now."""
        running = self.slot.running() if self.takes_work else None
        return self.takes_work and (running is None or now - running.since <= STUCK_AFTER)

    def jobs(self) -> list[Reservation]:
        """Return the jobs that it holds."""
        return [item.reservation for item in self.held.values() if isinstance(item, WorkItem)]

    def running(self) -> tuple[WorkItem | NoticeItem, Running] | None:
        """Return the item that runs at this moment, and since when."""
        running = self.slot.running()
        item = self.held.get(running.number) if running else None
        return (item, running) if item and running else None

    def cancel(self, item: WorkItem) -> None:
        """Let the job see that its outcome will be ignored."""
        self.slot.cancelled = item.number
        self.cancelled.add(item.number)

    def was_cancelled(self, item: WorkItem, outcome: Outcome) -> bool:
        """Return whether the job had learnt that it was lost. Asked once, when it has ended."""
        if item.number not in self.cancelled or outcome.settled:
            return False
        self.cancelled.remove(item.number)
        return True

    # -- ending --------------------------------------------------------------------------------

    def retire(self) -> None:
        """Give it nothing more: it ends by itself, or is ended soon."""
        if self.state in _LIVES:
            self.state = ChildState.ENDING

    def kill(self, reason: KillReason) -> None:
        """Let the warden send SIGKILL to its whole group: programs of the job end with it."""
        if self.state in _LIVES:
            self.state, self.killed_for = ChildState.KILLED, reason
            self._link.kill(self.slot)

    def dump(self) -> str:
        """Return what faulthandler wrote when it died."""
        size = os.fstat(self.ends.dump).st_size
        text = os.pread(self.ends.dump, min(size, 1 << 16), 0).decode("utf-8", "replace")
        return stacks(text)

    def close(self) -> None:
        """Close the parent's ends; an idle child ends by itself then."""
        self.ends.close()
