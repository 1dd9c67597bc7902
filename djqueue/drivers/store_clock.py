"""Whether a store's clock has been set forward: leases then seem expired that are not."""

from __future__ import annotations

import time

TOLERANCE = 1 / 8
"""The part of a lease by which a clock may be off: a worker ends its jobs that much sooner."""
LEAST = 0.25
"""Seconds that are no jump whatever the lease is: an answer may take that long."""


class StoreClock:
    """One store's clock, compared with our own before a worker's lease is judged by it."""

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._tolerance = max(lease * TOLERANCE, LEAST)
        self._ahead: float | None = None
        self._judge_at = 0.0

    @property
    def may_judge(self) -> bool:
        """Whether workers may be taken for dead: not for a lease after a jump of the clock, so that
        all have that long for a renewal.
        """
        return time.monotonic() >= self._judge_at

    def latest(self) -> float | None:
        """Return the most that it shows by now, if it goes on as before; None before the first
        look.
        """
        if self._ahead is None:
            return None
        return time.monotonic() + self._ahead + self._tolerance

    def shows(self, theirs: float, asked: float) -> None:
        """Note what it showed after the moment `asked` of `time.monotonic`."""
        latest = self.latest()
        if latest is not None and theirs > latest:
            self._judge_at = time.monotonic() + self._lease
        self._ahead = theirs - asked
