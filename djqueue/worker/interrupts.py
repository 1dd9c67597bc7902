"""Signals, as bytes in a pipe that the loop reads when it has time."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from djqueue.worker.warden.warden import STOP

_WATCHED = (*STOP, signal.SIGUSR2, signal.SIGCONT, signal.SIGCHLD)


class Interrupts:
    """The reading ends of two pipes that get each signal's number.

    One is written by the interpreter at the moment a signal comes, whatever this process waits for,
    and is for the warden. The other one is written by a handler, as soon as one can run, and is for
    this process: it does not depend on the warden.
    """

    def __init__(self) -> None:
        self.descriptor, self._write = os.pipe()
        self.for_warden, self._at_once = os.pipe()
        self._all = (self.descriptor, self._write, self.for_warden, self._at_once)
        for descriptor in self._all:
            os.set_blocking(descriptor, False)

    @property
    def private(self) -> tuple[int, ...]:
        """Return the descriptors that no other process may have: a job could write into them by
        mistake.
        """
        return self.descriptor, self._write, self._at_once

    def _note(self, number: int, frame: FrameType | None) -> None:
        with suppress(BlockingIOError):
            os.write(self._write, bytes([number]))

    @contextmanager
    def trapped(self) -> Iterator[None]:
        """Let signals come through the pipe in this block. Restore the handlers afterwards."""
        # What was ignored when the worker was started is left so: nohup, a shell's background.
        watched = [n for n in _WATCHED if signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._note) for number in watched}
        wakeup = signal.set_wakeup_fd(self._at_once, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            for descriptor in self._all:
                os.close(descriptor)

    def read(self) -> list[signal.Signals]:
        """Return the signals that came since the last call."""
        try:
            return [signal.Signals(number) for number in os.read(self.descriptor, 512)]
        except BlockingIOError:
            return []
