"""How an idle worker learns of new jobs: the store wakes it, or it polls a store that cannot."""

from __future__ import annotations

import random
import selectors
from typing import TYPE_CHECKING

from djqueue.drivers import clock
from djqueue.drivers.base import Wakeup
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from djqueue.drivers.base import Session
    from djqueue.worker.options import WorkerOptions

POLL_SOON = 0.008
POLL_LATER = 0.04
"""Seconds between two looks at a store that cannot call, in the first `LIVELY` seconds after work
and after that."""
LIVELY = 2.0
LISTEN_AGAIN = 0.5
"""Seconds until a store that could not be listened to is asked again."""
WATCH_AGAIN = 10.0
"""Seconds after which a store that could not call is asked again whether it can."""
BUSY_FOR = 1.0
"""Seconds without room for a job after which pushers no longer wake this worker."""


class StoreWakeup:
    """The wake-up of the store, opened again after the connection broke."""

    def __init__(
        self,
        session: Session,
        options: WorkerOptions,
        selector: selectors.BaseSelector,
        now: clock.Clock = clock.now,
    ) -> None:
        self._session = session
        self._now = now
        self._options = options
        self._selector = selector
        self._wakeup: Wakeup | None = None
        self._watching = False
        self._watch_again = 0.0
        self._registered: int | None = None
        self._idle = False
        self._busy_since: float | None = None
        self._worked_at = 0.0
        self._woken = False
        self._next_look = 0.0
        self._listen_at = 0.0

    @property
    def poll_at(self) -> float:
        """Return the next time to poll a store without (reliable) wake-ups."""
        if self._wakeup is None:
            return Wakeup.look_again
        return self._next_look if self._registered is None else self._wakeup.look_again

    def prepare(self, now: float, *, idle: bool) -> None:
        """Listen before sleeping, and let pushers know whether they have to call."""
        if now < self._listen_at:
            return
        try:
            self._watch(now)
            self._tell(now, idle)
        except QueueUnavailable:
            self.close()
            self._listen_at = self._now() + LISTEN_AGAIN

    def _watch(self, now: float) -> None:
        if self._watching and (self._wakeup is not None or now < self._watch_again):
            return
        self._wakeup = self._session.watch(self._options.queues)
        self._watching, self._watch_again = True, now + WATCH_AGAIN
        if self._wakeup is not None:
            descriptor = self._wakeup.fileno()
            if descriptor is not None:
                self._selector.register(descriptor, selectors.EVENT_READ, self._wakeup)
                self._registered = descriptor

    def _tell(self, now: float, idle: bool) -> None:
        if self._wakeup is None:
            return
        if idle:
            self._busy_since = None
            if not self._idle:
                self._wakeup.set_idle(True)
                self._idle = True
                self._woken = True  # jobs pushed before that woke no worker
        elif self._busy_since is None:
            self._busy_since = now
        elif self._idle and now - self._busy_since > BUSY_FOR:
            self._wakeup.set_idle(False)
            self._idle = False

    def was_woken(self) -> bool:
        """Return whether something may have arrived since the last call."""
        woken, self._woken = self._woken, False
        if self._wakeup is None:
            return woken
        if self._registered is None:
            now = self._now()
            if now < self._next_look:
                return woken
            self._next_look = now + (POLL_SOON if now - self._worked_at < LIVELY else POLL_LATER)
        try:
            woken = self._wakeup.arrived() or woken
        except QueueUnavailable:
            self.close()
        return woken

    def note_result(self, got: int, now: float) -> None:
        """Note that the store was asked for jobs and gave `got`."""
        if got:
            self._worked_at = now

    def next_poll(self, now: float) -> float:
        """Return when to ask again without having been called: a little before ``--sleep`` ends, so
        that workers that were started together do not keep asking together.
        """
        return now + max(self._options.sleep * random.uniform(0.8, 1.0), 0.001)

    def close(self) -> None:
        """Stop listening; the next `prepare` begins again."""
        if self._registered is not None:
            self._selector.unregister(self._registered)
            self._registered = None
        wakeup, self._wakeup = self._wakeup, None
        self._watching = self._idle = False
        self._woken = True
        if wakeup is not None:
            wakeup.close()
