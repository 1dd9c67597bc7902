"""What wakes the loop: children, the store, signals, in one selector."""

from __future__ import annotations

import select
import selectors
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from djqueue.drivers import clock
from djqueue.worker.children.process import Process
from djqueue.worker.interrupts import Interrupts

if TYPE_CHECKING:
    from djqueue.worker.store.wakeup import StoreWakeup

GATHER = 0.001
"""Seconds in which reports of a busy child gather, so that not each one wakes the parent."""

_Ready = list[tuple[selectors.SelectorKey, int]]


class Events:
    """Waits, and returns the data with which the descriptors of the events were registered."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.interrupts = Interrupts()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Turn signals into events in this block."""
        with self.interrupts.trapped():
            descriptor = self.interrupts.descriptor
            self.selector.register(descriptor, selectors.EVENT_READ, self.interrupts)
            try:
                yield
            finally:
                self.selector.close()

    def signals(self, ready: list[object]) -> list[signal.Signals]:
        """Return the signals among what is `ready`."""
        return self.interrupts.read() if self.interrupts in ready else []

    def pause(self, seconds: float) -> list[object]:
        """Wait for this many seconds, or until something happens."""
        return _data(self.selector.select(seconds))

    def wait(self, now: float, until: float, polled: StoreWakeup | None) -> list[object]:
        """Return what happens before `until`. A store that cannot call is `polled` in between. The
        turn of the loop began at `now`.
        """
        if clock.now() - now > GATHER and (ready := self.selector.select(0)):
            return _data(ready)  # gathered while the loop was at work
        while True:
            next_look = min(until, polled.poll_at) if polled else until
            ready = self.selector.select(max(0.0, next_look - clock.now()))
            if ready or next_look == until:
                break
            if polled and polled.was_woken():
                return [polled]
        if ready and all(_gathers(key.data) for key, _ in ready):
            time.sleep(GATHER)
        return _data(ready)

    def wait_for_answer(self, descriptor: int, until: float) -> list[object]:
        """Return what happens before `until`, or before the store has answered on `descriptor`."""
        with self._listening_to(descriptor):
            ready = self.selector.select(max(0.0, until - clock.now()))
        if ready and all(_gathers(key.data) for key, _ in ready):
            select.select([descriptor], [], [], GATHER)
        return _data(ready)

    @contextmanager
    def _listening_to(self, descriptor: int) -> Iterator[None]:
        """Listen to `descriptor` in this block. If a wake-up has registered it already, its events
        come anyway.
        """
        if descriptor in self.selector.get_map():
            yield
            return
        self.selector.register(descriptor, selectors.EVENT_READ, None)
        try:
            yield
        finally:
            self.selector.unregister(descriptor)


def _data(ready: _Ready) -> list[object]:
    return [key.data for key, _ in ready]


def _gathers(data: object) -> bool:
    """Return whether it is a child that will have more to report in a moment."""
    return isinstance(data, Process) and len(data.held) > 4
