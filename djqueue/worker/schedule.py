"""What a worker does by the clock: one table, from a timer to the moment when it is due.

The loop does what is due, says when it is due again, and sleeps until the smallest moment.
"""

from __future__ import annotations

import enum
import random

from djqueue.worker.options import WorkerOptions

NEVER = float("inf")


class Timer(enum.Enum):
    """What is due at a moment. `Worker._do` has what is done then."""

    RENEW_LEASE = enum.auto()
    TAKE_IN = enum.auto()
    """After an outage, look for jobs in answers that never arrived."""
    READ_CONTROLS = enum.auto()
    PROMOTE = enum.auto()
    """Put delayed jobs that are due in line."""
    RECOVER = enum.auto()
    """Take over what dead workers held."""
    REPLAY_OUTBOX = enum.auto()
    REPLAY_ELSEWHERE = enum.auto()
    """Have a child push what is late in the outbox of stores that no worker reads."""
    BATCHES = enum.auto()
    """Have a child look after batches."""
    SHOW = enum.auto()
    """Renew the row by which operators see the worker."""
    PRUNE = enum.auto()
    WRITE_STATISTICS = enum.auto()
    WRITE_FINISHED = enum.auto()
    NOTIFY = enum.auto()
    """Have a child look for what is wrong, and say it."""
    WATCH = enum.auto()
    """Look at what runs."""
    SAMPLE_MEMORY = enum.auto()
    MAX_TIME = enum.auto()

    EXCHANGE = enum.auto()
    START_CHILDREN = enum.auto()
    REST = enum.auto()
    END = enum.auto()
    LEASE = enum.auto()


WITHOUT_STORE = (Timer.WATCH, Timer.SAMPLE_MEMORY, Timer.MAX_TIME)
"""Done also while the store has been asked something and has not answered."""
WAKING = (Timer.EXCHANGE, Timer.START_CHILDREN, Timer.REST, Timer.END, Timer.LEASE)
"""These only end the sleep: each turn of the loop sees to them."""


class Schedule:
    """When each timer is due next; 0 means at once."""

    def __init__(self, at: dict[Timer, float]) -> None:
        self._at = {timer: at.get(timer, NEVER) for timer in Timer}

    @classmethod
    def of(cls, options: WorkerOptions, now: float, recover_after: float) -> Schedule:
        """Return the schedule of a worker with `options` that starts now."""
        return cls(
            {
                **dict.fromkeys((Timer.READ_CONTROLS, Timer.PROMOTE, Timer.WATCH, Timer.SHOW), now),
                **dict.fromkeys((Timer.REPLAY_OUTBOX, Timer.REPLAY_ELSEWHERE), now),
                Timer.BATCHES: now,
                Timer.WRITE_FINISHED: now,
                Timer.SAMPLE_MEMORY: now if options.memory_kill else NEVER,
                Timer.MAX_TIME: now + options.max_time if options.max_time else NEVER,
                Timer.RECOVER: now + recover_after,
                Timer.PRUNE: now + random.uniform(60, 300),
                Timer.NOTIFY: now + random.uniform(1, 10),
                Timer.WRITE_STATISTICS: now + random.uniform(5, 60),
            }
        )

    def set(self, timer: Timer, at: float) -> None:
        """Set `timer` to be due at `at`."""
        self._at[timer] = at

    def set_at_most(self, timer: Timer, at: float) -> None:
        """Set `timer` to be due at `at`, unless it is due before that."""
        self._at[timer] = min(self._at[timer], at)

    def due(self, now: float, *, store: bool) -> list[Timer]:
        """Return the timers that are due; without `store` only those that do not need the store."""
        if store:
            return [t for t, at in self._at.items() if now >= at and t not in WAKING]
        return [timer for timer in WITHOUT_STORE if now >= self._at[timer]]

    def next_at(self, *, store: bool) -> float:
        """Return when the next timer is due; without `store`, of those that do not need the
        store.
        """
        if store:
            return min(self._at.values())
        return min(self._at[t] for t in (*WITHOUT_STORE, Timer.END, Timer.LEASE))
