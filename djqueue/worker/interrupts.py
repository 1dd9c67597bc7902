"""Signals, as bytes in a pipe that the loop reads when it has time.

A handler here does nothing at all: the interpreter itself writes the signal's number.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
_WATCHED = (*STOP, signal.SIGUSR2, signal.SIGCONT, signal.SIGCHLD)


def _note(number: int, frame: FrameType | None) -> None:
    """Needed so that the default action is not taken."""


class Interrupts:
    """The reading end of the pipe."""

    def __init__(self) -> None:
        self.descriptor, self._write = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._write, False)

    @contextmanager
    def trapped(self) -> Iterator[None]:
        """Signals come through the pipe in this block; afterwards as before."""
        before = {number: signal.signal(number, _note) for number in _WATCHED}
        wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self.descriptor)
            os.close(self._write)

    def read(self) -> list[signal.Signals]:
        """The signals that came since the last call."""
        try:
            return [signal.Signals(number) for number in os.read(self.descriptor, 512)]
        except BlockingIOError:
            return []
