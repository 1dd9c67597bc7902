"""Memory that all processes of a worker share: what each child runs and how long it may.

The page has a head and a slot for each child. Everything in it is a double, and each double has
one writer at a time, so that a single one is never seen half written. What a child runs is six of
them, behind a version that is written before and after the others: equal versions mean that the
record is whole, also when its writer was stopped or killed in between. So is how far it has come.

All times are those of `clock.now`; 0 means never.
"""

from __future__ import annotations

import contextlib
import enum
import mmap
import os
import struct
import sys
import tempfile
from typing import NamedTuple

from djqueue.runner.current import LONGEST_MESSAGE
from djqueue.runner.current import Reported as Progress

_RECORD = struct.Struct("@6d")
_PROGRESS = struct.Struct(f"@5d{LONGEST_MESSAGE}sd")
"""A record of its own, in the same form: version, number, done, total, length of the message, the
message, version."""
_PROGRESS_AT = 128
_SLOT = 384
"""Bytes, so that neighbours do not share a line of the processor's cache."""
_CANCELLED, _LEASE_END, _HELD, _PID, _REASON, _AFTER = range(6, 12)
_STOP_AT = 0
ENDING = float(2**53)
"""The number of a child's last item: to flush, and to run what was registered with `atexit`."""


class Reason(enum.IntEnum):
    """Why the warden has ended a child."""

    NONE = 0
    """It has not: the child ended by itself, or was killed from outside."""
    ASKED = 1
    """The parent asked for it, and knows why."""
    TIMEOUT = 2
    LEASE = 3
    GRACE = 4
    SECOND_SIGNAL = 5
    WARDEN = 6
    """The warden was killed, and its children with it."""


class Running(NamedTuple):
    """What a child runs at this moment."""

    number: int
    since: float
    soft: float
    """When its soft timeout is; 0 means no limit."""
    hard: float
    """When it is killed; 0 means no limit."""


class Reported(NamedTuple):
    """How far a child says that its job has come."""

    version: float
    """Another one at each time."""
    number: int
    """That of the item."""
    progress: Progress


class Slot:
    """The part of the page that is about one child."""

    def __init__(self, page: StatusPage, number: int) -> None:
        self.number = number
        self._map = page.map
        self._at = (number + 1) * _SLOT
        self._view = page.view[self._at // 8 : self._at // 8 + _SLOT // 8]
        self._page_view = page.view
        self._version = self._reports = 0.0

    def clear(self) -> None:
        """Reset the slot, in the parent, before a child is started."""
        for index in range(_SLOT // 8):
            self._view[index] = 0.0

    @property
    def is_stopping(self) -> bool:
        """Return whether the worker is stopping."""
        return self._page_view[_STOP_AT] > 0

    def release(self) -> None:
        """Stop using the memory."""
        self._view.release()

    # -- written by the child ------------------------------------------------------------------

    def begin(self, number: float, since: float, soft: float = 0.0, hard: float = 0.0) -> None:
        """Record that item `number` begins."""
        self._version = version = self._version + 1
        _RECORD.pack_into(self._map, self._at, version, number, since, soft, hard, version)

    def end(self) -> None:
        """Record that nothing runs."""
        self.begin(0.0, 0.0)

    def running(self) -> Running | None:
        """Return the item that runs, or None."""
        record = _RECORD.unpack_from(self._map, self._at)
        if not record[1] or record[0] != record[5]:
            return None
        if _RECORD.unpack_from(self._map, self._at) != record:
            return None
        return Running(int(record[1]), record[2], record[3], record[4])

    def report(self, number: float, progress: Progress) -> None:
        """Note how far item `number` has come."""
        done, total, message = progress
        kept = message.encode()
        at = self._at + _PROGRESS_AT
        self._reports = version = self._reports + 1
        _PROGRESS.pack_into(self._map, at, version, number, done, total, len(kept), kept, version)

    def reported(self, since: float = 0.0) -> Reported | None:
        """Return what was reported last; None where nothing was since version `since`."""
        if self._view[_PROGRESS_AT // 8] == since:
            return None
        at = self._at + _PROGRESS_AT
        record = _PROGRESS.unpack_from(self._map, at)
        if record[0] != record[6] or _PROGRESS.unpack_from(self._map, at) != record:
            return None
        version, number, done, total, length, message, _ = record
        text = message[: int(length)].decode("utf-8", "replace")
        return Reported(version, int(number), (done, total, text))

    @property
    def is_up(self) -> bool:
        """Whether the child has started and waits for work."""
        return self._view[0] > 0

    # -- written by the parent -----------------------------------------------------------------

    @property
    def lease_end(self) -> float:
        """When others may take over what this child holds; the child is killed then."""
        return self._view[_LEASE_END]

    @lease_end.setter
    def lease_end(self, at: float) -> None:
        self._view[_LEASE_END] = at

    @property
    def held(self) -> int:
        """The number of items that the child holds."""
        return int(self._view[_HELD])

    @held.setter
    def held(self, count: int) -> None:
        self._view[_HELD] = count

    @property
    def cancelled(self) -> int:
        """The last item that was cancelled."""
        return int(self._view[_CANCELLED])

    @cancelled.setter
    def cancelled(self, number: int) -> None:
        self._view[_CANCELLED] = number

    # -- written by the warden -----------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The child's process id; 0 until it is started."""
        return int(self._view[_PID])

    @pid.setter
    def pid(self, pid: int) -> None:
        self._view[_PID] = pid

    @property
    def reason(self) -> Reason:
        """Why the warden has ended the child."""
        return Reason(int(self._view[_REASON]))

    @property
    def after(self) -> float:
        """Seconds that its job had run when it was ended."""
        return self._view[_AFTER]

    def ended(self, reason: Reason, after: float = 0.0) -> None:
        """Record why the child is ended. The first reason stays."""
        if not self._view[_REASON]:
            self._view[_AFTER] = after
            self._view[_REASON] = reason


class StatusPage:
    """The whole of it. Made by the parent; other processes inherit it, or open its descriptor."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self.size = size
        self.map = mmap.mmap(descriptor, _length(size))
        self.view = memoryview(self.map).cast("d")
        self.slots = [Slot(self, number) for number in range(size)]

    @classmethod
    def create(cls, size: int) -> StatusPage:
        """Return a page for `size` children."""
        descriptor = scratch("page")
        # Written, not left as a hole: a full disk is an error here instead of a crash later.
        os.write(descriptor, bytes(_length(size)))
        return cls(descriptor, size)

    @property
    def stop_at(self) -> float:
        """When running jobs are ended; 0 while the worker is to go on."""
        return self.view[_STOP_AT]

    @stop_at.setter
    def stop_at(self, at: float) -> None:
        self.view[_STOP_AT] = at

    def close(self) -> None:
        """Release the memory; other processes keep it."""
        for slot in self.slots:
            slot.release()
        self.view.release()
        self.map.close()
        os.close(self.descriptor)


def _length(size: int) -> int:
    return -(-(size + 1) * _SLOT // mmap.PAGESIZE) * mmap.PAGESIZE


def scratch(name: str) -> int:
    """Return a file without a name to share with other processes; in memory where the system allows
    that.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return os.memfd_create(f"djqueue-{name}")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
