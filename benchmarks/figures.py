"""Medians, quartiles, percentiles; and whether a target was reached."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Spread(NamedTuple):
    """A series in three figures."""

    lower: float
    median: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        return cls(lower, median, upper)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True)
class Target:
    """What is promised of one contestant's figure, mostly beside another's of the same round."""

    ours: str
    other: str | None = None
    """None: the figure itself is what is promised."""
    at_least: float | None = None
    at_most: float | None = None
    metric: str = "rate"
    against: str = ""
    """The other's metric, where it is not the same."""
    plus: float = 0.0
    """Promised is at most the other's figure and so much more."""

    def values(self, series: dict[str, dict[str, list[float]]]) -> list[float]:
        """One value a round; none if one of the two is absent."""
        ours = series.get(self.ours, {}).get(self.metric, [])
        if self.other is None:
            return ours
        others = series.get(self.other, {}).get(self.against or self.metric, [])
        if self.plus:
            return [a - b for a, b in zip(ours, others, strict=False)]
        return [a / b for a, b in zip(ours, others, strict=False)]

    def wanted(self) -> str:
        if self.plus:
            return f"≤ {self.other}'s + {self.plus:g}"
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return f"≤ {self.at_most:g}" if self.at_most is not None else "reported"

    def verdict(self, spread: Spread) -> str:
        """Reached means that even the worse quartile is."""
        if self.plus:
            reached = spread.upper <= self.plus
        elif self.at_least is not None:
            reached = spread.lower >= self.at_least
        elif self.at_most is not None:
            reached = spread.upper <= self.at_most
        else:
            return ""
        return "reached" if reached else "not reached"
