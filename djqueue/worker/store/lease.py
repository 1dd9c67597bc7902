"""A worker's lease: how long what it holds is its own, and whether it may take over from others.

A worker that cannot renew ends its children before its lease does, since others take its jobs over
then. It recovers jobs of others only if its own last two renewals were on time: after an outage
every worker has had time for a sign of life before any is taken for dead.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from djqueue.drivers import clock
from djqueue.drivers.base import Reservation
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from djqueue.drivers.base import Session


class Lease:
    """All times are those of the clock."""

    def __init__(self, session: Session, now: clock.Clock = clock.now) -> None:
        """Begin when the worker has just joined."""
        self._session = session
        self._now = now
        self._is_as_long_as(session.lease)
        self._on_time = 0
        self._renewed = now()
        self.next_at = self._renewed + self.every * random.uniform(0.8, 1.0)

    def _is_as_long_as(self, length: float) -> None:
        self.length = length
        self.every = length / 4
        self._margin = min(length / 8, 3.0)

    @property
    def ends_at(self) -> float:
        """When the children must be gone."""
        return self._renewed + self.length - self._margin

    def follow(self, asked: float) -> None:
        """Adopt the length that the lease has after an exchange that began at `asked`: a store may
        hold a job for as long as its dispatcher said.
        """
        length = self._session.lease
        if length == self.length:
            return
        end = self.ends_at
        self._is_as_long_as(length)
        # What is held for longer was renewed before; what is held for less was reserved just now.
        self._renewed = min(end, asked + length - self._margin) - length + self._margin
        self.next_at = min(self.next_at, asked + self.every * random.uniform(0.8, 1.0))

    @property
    def may_recover_others(self) -> bool:
        """Whether expired reservations of others may be taken over."""
        return self._on_time >= 2

    def renew(self, held: Sequence[Reservation]) -> set[str]:
        """Renew the lease. Return the ids among `held` that are lost. Time counts from the
        request.
        """
        asked = self._now()
        self.next_at = asked + 0.5
        late = asked - self._renewed > self.every * 2
        try:
            lost = self._session.extend(held)
        except Exception as error:
            self._on_time = 0
            if isinstance(error, QueueUnavailable) and error.locked:
                # No other worker can write either, so none has taken anything over. A worker that
                # waits for the lock as we do could not renew in time: recover nothing at first.
                self._renewed = self._now()
            raise
        self._renewed = asked
        self._on_time = 0 if late else self._on_time + 1
        self.next_at = asked + self.every * random.uniform(0.8, 1.0)
        return lost
