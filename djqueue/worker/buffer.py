"""What the parent has reserved and not yet handed to a child, and how it is handed out.

Short jobs travel in windows, since a round trip a job would decide everything; a long one goes
alone, so that no other waits for it. A window is about 50 ms of the slowest kind of job that was
seen lately.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Sequence

from djqueue.drivers.base import Reservation
from djqueue.payload.payload import limits_of
from djqueue.worker.children.process import Process
from djqueue.worker.notices import Notice

SPAN = 0.05
"""Seconds of work in a window."""
LATELY = 5.0
"""Seconds after which an unseen kind of job is forgotten."""
_WEIGHT = 0.2
LARGEST_EXCHANGE = 400
"""The most jobs that are reserved at once."""
AHEAD = 3
"""Windows that a child may hold: one that runs, one that is ready, one that is on its way."""


class WindowSizer:
    """Sizes windows from how long jobs have taken."""

    def __init__(self, largest: int = 100) -> None:
        self._largest = largest
        self._usual: dict[str, float] = {}
        self._seen: dict[str, float] = {}
        self._size = 1
        self._stale = 0.0

    def observe(self, name: str, seconds: float, now: float) -> None:
        """Note that a job called `name` took, or has taken so far, this many seconds."""
        usual = self._usual.get(name)
        if usual is None or seconds > usual * 4:  # slower than known: believe it at once
            self._usual[name] = seconds
            self._stale = 0.0
        else:
            self._usual[name] = usual + _WEIGHT * (seconds - usual)
        self._seen[name] = now

    def size(self, now: float) -> int:
        """Return the number of jobs that make a window at this moment."""
        if now >= self._stale:
            self._stale = now + 0.1
            for name in [name for name, seen in self._seen.items() if now - seen > LATELY]:
                del self._seen[name], self._usual[name]
            slowest = max(self._usual.values(), default=SPAN)
            self._size = max(1, min(self._largest, int(SPAN / max(slowest, 1e-6))))
        return self._size


def goes_alone(reservation: Reservation) -> bool:
    """Return whether a job must not share a window. A job that may have killed its worker would
    count an interruption for its neighbours, and a job that allows no interruption must not be such
    a neighbour.
    """
    return reservation.interruptions > 0 or limits_of(reservation.payload).max_interruptions == 0


class Buffer:
    """Reservations and notices on their way to a child."""

    def __init__(self, largest_window: int = 100, *, queues: int = 1) -> None:
        """`queues`: the number of queues that the worker reads."""
        self.windows = WindowSizer(largest_window)
        self._ahead = AHEAD if queues == 1 else 1
        self.jobs: deque[Reservation] = deque()
        self.notices: deque[Notice] = deque()
        self.saw_exclusive_job = False
        """One of the jobs that came in last goes alone."""
        self._alone: set[str] = set()
        """The ids of those here that do."""

    def add(self, reservations: Sequence[Reservation]) -> None:
        """Take jobs that were just reserved."""
        self.jobs.extend(reservations)
        alone = {reservation.id for reservation in reservations if goes_alone(reservation)}
        self._alone |= alone
        self.saw_exclusive_job = bool(alone)

    def put_first(
        self, reservations: Iterable[Reservation], notices: Iterable[Notice] = ()
    ) -> None:
        """Take jobs that were taken back from a child: they are next."""
        taken = list(reservations)
        self.jobs.extendleft(reversed(taken))
        self._alone |= {reservation.id for reservation in taken if goes_alone(reservation)}
        self.notices.extendleft(reversed(list(notices)))

    def add_notice(self, notice: Notice) -> None:
        """Add what the clock asks for, unless it waits already: no child may be free for hours."""
        if notice not in self.notices:
            self.notices.append(notice)

    def hand_out_notices(self, processes: Sequence[Process], now: float) -> None:
        """Hand out the notices, each to the emptiest child. They need no reservation. While all
        children run long jobs, notices wait here.
        """
        if not self.notices:
            return
        free = [process for process in processes if process.is_free(now)]
        while self.notices and free:
            min(free, key=lambda process: len(process.held)).notify(self.notices.popleft())

    def hand_out_jobs(self, processes: Sequence[Process], capacity: int) -> int:
        """Hand out jobs, evenly, at most `capacity` to a child. Return their number."""
        handed = 0
        able = [p for p in processes if p.takes_work and len(p.held) < capacity]
        for position, process in enumerate(able):
            if not self.jobs:
                break
            share = math.ceil(len(self.jobs) / (len(able) - position))
            size = min(share, capacity - len(process.held))
            if self.jobs[0].id in self._alone:
                window = self._exclusive(process)
            else:
                window = self._shared(size)
                process.hand_over(window)
            handed += len(window)
        return handed

    def _exclusive(self, process: Process) -> list[Reservation]:
        """Hand the next job to an empty child, alone. Return it, or nothing if the child holds a
        job.
        """
        if process.held:
            return []
        job = self.jobs.popleft()
        self._alone.remove(job.id)
        process.hand_over([job], alone=True)
        return [job]

    def _shared(self, size: int) -> list[Reservation]:
        if not self._alone:
            return [self.jobs.popleft() for _ in range(min(size, len(self.jobs)))]
        window: list[Reservation] = []
        while self.jobs and len(window) < size and self.jobs[0].id not in self._alone:
            window.append(self.jobs.popleft())
        return window

    def capacity(self, now: float) -> int:
        """Return the number of jobs that a child may hold. A second window is on its way while the
        first one runs, unless a better queue may get something in between.
        """
        window = self.windows.size(now)
        return window * self._ahead if window > 1 else window

    def room(self, able: Sequence[Process], capacity: int) -> int:
        """Return the number of jobs that the children that are `able` to take some can be given; 0
        while the next window of each is already there.
        """
        if self.saw_exclusive_job:
            return sum(1 for process in able if not process.held)
        if not able or len(able[0].held) > capacity * (AHEAD - 1) // AHEAD:
            return 0
        return min(sum(capacity - len(process.held) for process in able), LARGEST_EXCHANGE)

    def has_work_for(self, able: Sequence[Process], now: float) -> bool:
        """Return whether something can be handed out, or has to be given back."""
        return bool(self.jobs) or (bool(self.notices) and any(p.is_free(now) for p in able))

    def take(self, ids: Collection[str]) -> list[Reservation]:
        """Remove and return the jobs called `ids` that no child was given."""
        taken = [job for job in self.jobs if job.id in ids]
        for job in taken:
            self.jobs.remove(job)
            self._alone.discard(job.id)
        return taken

    def drain(self) -> list[Reservation]:
        """Remove and return the jobs that no child was given: they go back to the store."""
        rest = list(self.jobs)
        self.jobs.clear()
        self._alone.clear()
        return rest
