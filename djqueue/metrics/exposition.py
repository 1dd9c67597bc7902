"""The text format of Prometheus, version 0.0.4."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["CONTENT_TYPE", "Family", "exposition"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\0": "\N{REPLACEMENT CHARACTER}"})


@dataclass(frozen=True)
class Family:
    """A metric with all its series."""

    name: str
    kind: str
    """``gauge``, ``counter`` or ``histogram``."""
    meaning: str
    series: list[tuple[str, Mapping[str, str], float]] = field(default_factory=list)
    """What is appended to the name, labels, and the value."""

    def add(self, value: float, suffix: str = "", **labels: str) -> None:
        """Add a series."""
        self.series.append((suffix, labels, value))

    def add_histogram(self, bounds: Sequence[float], buckets: Sequence[int], **labels: str) -> None:
        """Add the series of a histogram: `buckets` has one more count than there are `bounds`. It
        has no sum, which its source does not know.
        """
        so_far = 0
        for bound, number in zip((*bounds, math.inf), buckets, strict=True):
            so_far += number
            self.add(so_far, "_bucket", **labels, le=_number(bound))
        self.add(so_far, "_count", **labels)


def exposition(families: Iterable[Family]) -> str:
    """Return the text."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.meaning}"
    yield f"# TYPE {family.name} {family.kind}"
    for suffix, labels, value in family.series:
        written = ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items())
        yield f"{family.name}{suffix}{{{written}}} {_number(value)}"


def _escape(text: str) -> str:
    return text.encode("utf-8", "replace").decode().translate(_ESCAPED)


def _number(value: float) -> str:
    return "+Inf" if value == math.inf else f"{value:.15g}"
