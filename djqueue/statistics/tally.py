"""What one worker has counted since it last wrote its counts down."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from random import random
from typing import TYPE_CHECKING, NamedTuple

from djqueue.payload.waiting import waits_since
from djqueue.runner.decision import Action
from djqueue.statistics.histogram import BOUNDS, COUNTS

if TYPE_CHECKING:
    from djqueue.runner.outcome import End

__all__ = ["OTHER", "Counts", "Tally"]

MOST_JOBS = 200
"""Pairs of queue and job that are written at a time; the rest counts as `OTHER`."""
MOST_KEYS = 10_000
"""Kinds of ends that are kept apart until they are written. Nothing more is counted above."""
OTHER = "other"

_KEY = attrgetter("reservation.queue", "reservation.name", "outcome.decision.action._value_")
_DURATION = attrgetter("outcome.duration")
_bucket = partial(bisect_left, BOUNDS)
_COLUMNS = {
    Action.DONE.value: "done",
    Action.FAIL.value: "failed",
    Action.RETRY.value: "released",
    Action.INTERRUPT.value: "released",
}
_WAIT = "wait"


class Counts(NamedTuple):
    """The counts of one job in one queue."""

    queue: str
    name: str
    numbers: Sequence[int]
    """One for each of `djqueue.statistics.histogram.COUNTS`."""


class Tally:
    """Counts the ends of attempts. No line of Python runs for each of them: the worker's loop calls
    it under full load.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[tuple[str, str, str], int]] = Counter()

    def add(self, ends: Sequence[End], now: float) -> None:
        """Count `ends`, which are stored at `now` (seconds since the epoch). The wait is that of
        one of them, chosen at random.
        """
        counts = self._counts
        if len(counts) > MOST_KEYS:
            return
        counts.update(zip(map(_KEY, ends), map(_bucket, map(_DURATION, ends)), strict=False))
        reservation, outcome, _ = ends[int(random() * len(ends))]
        if reservation.attempt == 1 and not reservation.history and not reservation.interruptions:
            since = waits_since(reservation.payload)
            if since is not None:
                waited = max(0.0, now - outcome.duration - since)
                counts[(reservation.queue, reservation.name, _WAIT), _bucket(waited)] += 1

    def take(self) -> Taken:
        """Return what was counted, and begin again at zero."""
        taken, self._counts = self._counts, Counter()
        return Taken(taken)

    def put_back(self, taken: Taken) -> None:
        """Add counts that were taken and certainly not written."""
        self._counts.update(taken.counts)


class Taken(NamedTuple):
    """What was counted until a moment."""

    counts: Mapping[tuple[tuple[str, str, str], int], int]

    def rows(self) -> list[Counts]:
        """Return the counts by queue and job, sorted, so that workers lock rows in one order."""
        found: dict[tuple[str, str], list[int]] = {}
        for ((queue, name, what), bucket), number in self.counts.items():
            key = _clean(queue, 80), _clean(name, 255)
            if key not in found and len(found) >= MOST_JOBS:
                key = key[0], OTHER
            numbers = found.setdefault(key, [0] * len(COUNTS))
            for column in _columns(what, bucket):
                numbers[COUNTS.index(column)] += number
        return [Counts(queue, name, numbers) for (queue, name), numbers in sorted(found.items())]


def _columns(what: str, bucket: int) -> Iterable[str]:
    if what == _WAIT:
        return (f"wait_{bucket}",)
    column = _COLUMNS.get(what)
    if column is None:  # an operator stopped it: that says nothing of the job
        return ()
    return (column, f"runtime_{bucket}") if column == "done" else (column,)


def _clean(text: str, limit: int) -> str:
    """Return `text` as every database stores it."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:limit]
