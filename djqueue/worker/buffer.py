"""What the parent has reserved and not yet handed to a child, and how it is dealt out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

from djqueue.drivers.base import Reservation
from djqueue.finish.notices import Notice
from djqueue.payload.payload import limits_of
from djqueue.worker.children.process import Process


def goes_alone(reservation: Reservation) -> bool:
    """Whether it must not share a window: a job that may have killed its worker would count an
    interruption for its neighbours, and one that allows none must not be such a neighbour.
    """
    return reservation.interruptions > 0 or limits_of(reservation.payload).max_interruptions == 0


class Buffer:
    """Reservations and notices on their way to a child."""

    def __init__(self) -> None:
        self.jobs: deque[Reservation] = deque()
        self.notices: deque[Notice] = deque()
        self.saw_exclusive_job = False
        """The last jobs that came in had one that goes alone."""
        self._alone: set[str] = set()
        """The ids of those here that do."""

    def __len__(self) -> int:
        return len(self.jobs)

    def add(self, reservations: Sequence[Reservation]) -> None:
        """They were just reserved."""
        self.jobs.extend(reservations)
        alone = {reservation.id for reservation in reservations if goes_alone(reservation)}
        self._alone |= alone
        self.saw_exclusive_job = bool(alone)

    def put_first(self, reservations: Iterable[Reservation]) -> None:
        """They were taken back from a child: they are next."""
        taken = list(reservations)
        self.jobs.extendleft(reversed(taken))
        self._alone |= {reservation.id for reservation in taken if goes_alone(reservation)}

    def tell(self, processes: Sequence[Process], now: float) -> None:
        """Hand out the notices, to the emptiest child each. They need no reservation; while all
        children are at something long, they wait here.
        """
        if not self.notices:
            return
        free = [process for process in processes if process.is_free(now)]
        while self.notices and free:
            min(free, key=lambda process: len(process.held)).tell(self.notices.popleft())

    def deal(self, processes: Sequence[Process], capacity: int) -> int:
        """Hand out jobs, evenly, at most `capacity` to a child; how many."""
        dealt = 0
        able = [p for p in processes if not p.full and len(p.held) < capacity]
        for position, process in enumerate(able):
            if not self.jobs:
                break
            share = math.ceil(len(self.jobs) / (len(able) - position))
            window = self._window(process, min(share, capacity - len(process.held)))
            if window:
                process.hand_over(window)
                dealt += len(window)
        return dealt

    def _window(self, process: Process, size: int) -> list[Reservation]:
        window: list[Reservation] = []
        while self.jobs and len(window) < size:
            if self.jobs[0].id in self._alone:
                if not process.held and not window:
                    process.full = True
                    window.append(self.jobs.popleft())
                    self._alone.remove(window[0].id)
                break
            window.append(self.jobs.popleft())
        return window

    def drain(self) -> list[Reservation]:
        """Remove and return the jobs that no child was given: they go back to the store."""
        rest = list(self.jobs)
        self.jobs.clear()
        self._alone.clear()
        return rest
