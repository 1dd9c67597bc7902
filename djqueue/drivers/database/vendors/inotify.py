"""How a worker on SQLite learns of a push where the system tells that a file was written to.

Linux does (inotify). A commit writes to the write-ahead log, or to the database where there
is none; that calls the worker, which then asks the change counter. What is written is committed a
moment later, so it asks again a few times, and after that rarely.
"""

from __future__ import annotations

import ctypes
import os
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from djqueue.drivers.base import Wakeup
from djqueue.drivers.database.vendors.data_version import Counter, files_of

if TYPE_CHECKING:
    from djqueue.drivers.database.vendors.dialect import Dialect

SOON = 0.002
LATER = 0.5
"""Seconds until the counter is asked again: at first after a call, doubled each time, at most."""
UNHEARD = 0.04
"""At most, while there is no file that could be written to."""

_MODIFIED, _ONCE = 0x2, 0x8000_0000
_FLAGS = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)


class WrittenWakeup(Wakeup):
    """Calls once, and is armed again when it is next asked: who writes all the time calls a
    worker 500 times a second, no more.
    """

    def __init__(self, dialect: Dialect) -> None:
        """Raise OSError if the system does not report writes, or not to this database."""
        self._counter = Counter(dialect)
        self._files = tuple(map(os.fsencode, files_of(dialect)))
        self._descriptor: int | None = _opened()
        self._idle = True
        self._pause = SOON
        self.look_again = 0.0
        if not self._arm():
            self.close()
            raise FileNotFoundError(self._files)

    def fileno(self) -> int | None:
        return self._descriptor

    def arrived(self) -> bool:
        now = time.monotonic()
        if self._was_called():
            self._pause = SOON
        elif now < self.look_again:
            return False
        elif self._idle and not self._arm():
            self._pause = min(self._pause, UNHEARD)
        self.look_again = now + self._pause
        self._pause = min(self._pause * 2, LATER)
        return self._counter.has_changed()

    def set_idle(self, idle: bool) -> None:
        self._idle = idle
        if idle:
            self._pause, self.look_again = SOON, 0.0

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _arm(self) -> bool:
        """Call at the next write to any of the files that exist. Return whether one does."""
        add = _library().inotify_add_watch
        watched = [add(self._descriptor, name, _MODIFIED | _ONCE) >= 0 for name in self._files]
        return any(watched)

    def _was_called(self) -> bool:
        if self._descriptor is None:
            return False
        try:
            return bool(os.read(self._descriptor, 4096))
        except BlockingIOError:
            return False


@lru_cache(maxsize=1)
def _library() -> Any:
    """Return the C library. Raises OSError if it has no inotify."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "inotify_init1"):
        raise OSError("This system does not tell when a file is written to.")
    return library


def _opened() -> int:
    descriptor: int = _library().inotify_init1(_FLAGS)
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor
