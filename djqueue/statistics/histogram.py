"""Histograms of durations that add up: the same bounds everywhere, and a count for each bucket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["BOUNDS", "COUNTS", "RUNTIMES", "WAITS", "Times", "times"]

BOUNDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 2, 4, 8, 15, 30, 60, 300, 1800)
"""Seconds: the upper bounds of all buckets but the last, which has no upper bound."""
RUNTIMES, WAITS = (
    tuple(f"{what}_{number}" for number in range(len(BOUNDS) + 1)) for what in ("runtime", "wait")
)
COUNTS = ("done", "failed", "released", *RUNTIMES, *WAITS)
"""What is counted: the columns of `djqueue_minutes` that workers add to, in this order."""


class Times(NamedTuple):
    """What a histogram says. Durations are in seconds, and exact to the width of a bucket."""

    number: int
    """Durations that it has."""
    p50: float | None
    """Half of them are not longer; None without any."""
    p95: float | None


def times(buckets: Sequence[int]) -> Times:
    """Return what the counts of `buckets` say."""
    number = sum(buckets)
    if not number:
        return Times(0, None, None)
    return Times(number, _quantile(buckets, number * 0.50), _quantile(buckets, number * 0.95))


def _quantile(buckets: Sequence[int], rank: float) -> float:
    """Return the duration that `rank` durations do not exceed. Within a bucket they are taken to be
    spread evenly; those above all bounds count as the last bound.
    """
    below = 0
    low = 0.0
    for number, high in zip(buckets, BOUNDS, strict=False):
        if below + number >= rank:
            return low + (high - low) * (rank - below) / number
        below, low = below + number, high
    return float(BOUNDS[-1])
