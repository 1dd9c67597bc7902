"""Charts of the statistics: what is drawn as SVG, and the same numbers as tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from django.utils.translation import gettext, ngettext

from djqueue.operations.words import grouped, took
from djqueue.statistics.reading import DAY, LAST_HOUR, Bucket, in_buckets

if TYPE_CHECKING:
    from djqueue.statistics.histogram import Times

__all__ = ["HEIGHT", "SPANS", "WIDTH", "Chart", "charts"]

WIDTH, HEIGHT = 600, 120
"""The coordinates of a drawing; the style sheet scales it."""
SPANS = {"1h": (LAST_HOUR, 60), "24h": (DAY, 3600)}
"""Seconds that are shown, and seconds of a bucket."""
LEAST = 1.5
"""The height of a bar that stands for anything: one failure beside many releases is to be seen."""


class Bar(NamedTuple):
    """A rectangle."""

    kind: str
    x: float
    y: float
    width: float
    height: float


class Line(NamedTuple):
    """Points that are joined; each break in the numbers begins another line."""

    kind: str
    points: str


class Series(NamedTuple):
    """One kind of number."""

    kind: str
    """Its colour in the style sheet."""
    label: str


class Chart(NamedTuple):
    """A drawing, and its table."""

    name: str
    """Unique on the page."""
    title: str
    text: str
    """What it shows, for those who do not see it."""
    most: str
    """What the top of the drawing stands for."""
    series: Sequence[Series]
    bars: Sequence[Bar]
    lines: Sequence[Line]
    rows: Sequence[tuple[datetime, Sequence[str]]]
    """The cells of the table, by the beginning of the bucket."""
    begin: datetime
    """What the left edge of the drawing stands for."""
    end: datetime
    """What its right edge stands for: the end of the bucket that is not over."""

    @property
    def table(self) -> list[tuple[datetime, list[tuple[str, str]]]]:
        """Return the rows, each cell with the label of its column."""
        labels = [each.label for each in self.series]
        return [(at, list(zip(labels, cells, strict=True))) for at, cells in self.rows]


class _Axis(NamedTuple):
    """The buckets that the drawing has room for, empty ones included."""

    first: int
    step: int
    number: int

    def place(self, at: datetime) -> int:
        return (int(at.timestamp()) - self.first) // self.step

    @property
    def width(self) -> float:
        return WIDTH / self.number

    @property
    def edges(self) -> tuple[datetime, datetime]:
        ends = (self.first, self.first + self.step * self.number)
        begin, end = (datetime.fromtimestamp(each, timezone.utc) for each in ends)
        return begin, end


def charts(span: str, connection: str | None = None, queue: str | None = None) -> list[Chart]:
    """Return the charts of one of `SPANS`, of one queue or of all."""
    seconds, step = SPANS[span]
    number = seconds // step
    first = (int(time.time()) // step - number + 1) * step
    axis = _Axis(first, step, number)
    found = [
        each
        for each in in_buckets(seconds, connection, queue)
        if axis.place(each.at) in range(number)
    ]
    each_minute = step == SPANS["1h"][1]
    return [
        _counts(
            "done",
            gettext("Jobs done in each minute")
            if each_minute
            else gettext("Jobs done in each hour"),
            [("done", gettext("Done"), lambda bucket: bucket.done)],
            axis,
            found,
        ),
        _counts(
            "failed",
            gettext("Failures in each minute") if each_minute else gettext("Failures in each hour"),
            [
                ("failed", gettext("Failed"), lambda bucket: bucket.failed),
                ("released", gettext("Released for another attempt"), lambda b: b.released),
            ],
            axis,
            found,
        ),
        _durations("runtime", gettext("How long jobs took"), lambda b: b.runtime, axis, found),
        _durations("wait", gettext("How long jobs waited"), lambda b: b.wait, axis, found),
    ]


_Number = Callable[[Bucket], int]


def _counts(
    name: str,
    title: str,
    kinds: Sequence[tuple[str, str, _Number]],
    axis: _Axis,
    found: Sequence[Bucket],
) -> Chart:
    """Return a chart of bars that stand on each other."""
    most = max((sum(of(each) for _k, _l, of in kinds) for each in found), default=0)
    bars = []
    for bucket in found:
        top = float(HEIGHT)
        heights = _heights([number(bucket) for _k, _l, number in kinds], most)
        for (kind, _label, _number), height in zip(kinds, heights, strict=True):
            top -= height
            if height:
                left = axis.place(bucket.at) * axis.width
                bars.append(Bar(kind, *_rounded(left, top, axis.width * 0.8, height)))
    rows = [(each.at, [grouped(of(each)) for _k, _l, of in kinds]) for each in found]
    total = sum(of(each) for each in found for _k, _l, of in kinds)
    words = ngettext(
        "%(total)s in all, at most %(most)s at a time.",
        "%(total)s in all, at most %(most)s at a time.",
        total,
    )
    text = words % {"total": grouped(total), "most": grouped(most)}
    series = [Series(kind, label) for kind, label, _of in kinds]
    return Chart(name, title, text, grouped(most), series, bars, [], rows, *axis.edges)


def _heights(numbers: Sequence[int], most: int) -> list[float]:
    """Return the heights of bars that stand on each other, together no higher than the drawing."""
    heights = [max(HEIGHT * each / most, LEAST) if each else 0.0 for each in numbers]
    if (over := sum(heights) - HEIGHT) > 0:
        heights[heights.index(max(heights))] -= over
    return heights


def _durations(
    name: str,
    title: str,
    of: Callable[[Bucket], Times],
    axis: _Axis,
    found: Sequence[Bucket],
) -> Chart:
    """Return a chart with a line for half of the jobs, and one for 95 % of them."""
    known = [each for each in found if of(each).number]
    most = max((of(each).p95 or 0.0 for each in known), default=0.0)
    halves = _points(axis, [(each.at, of(each).p50 or 0.0) for each in known], most)
    nearly = _points(axis, [(each.at, of(each).p95 or 0.0) for each in known], most)
    lines = [*(Line("p50", each) for each in halves), *(Line("p95", each) for each in nearly)]
    rows = [(each.at, [_took(of(each).p50), _took(of(each).p95)]) for each in known]
    text = gettext(
        "Half of them are within the lower line, and 95 %% of them within the upper one, which"
        " reaches %(most)s."
    ) % {"most": took(most)}
    series = [Series("p50", gettext("half of them")), Series("p95", gettext("nearly all (95 %)"))]
    return Chart(name, title, text, took(most), series, [], lines, rows, *axis.edges)


def _points(axis: _Axis, values: Sequence[tuple[datetime, float]], most: float) -> list[str]:
    """Return the points of the lines: buckets that follow each other are joined, and a single one
    is a dash as wide as a bucket.
    """
    runs: list[list[tuple[float, float]]] = []
    last = None
    for at, value in values:
        place = axis.place(at)
        y = HEIGHT * (1 - value / most) if most else HEIGHT
        left, y, right, _zero = _rounded(place * axis.width, y, (place + 1) * axis.width, 0)
        if last is None or place != last + 1:
            runs.append([(left, y)])
        runs[-1].append((right, y))
        last = place
    return [" ".join(f"{x:g},{y:g}" for x, y in run) for run in runs]


def _rounded(*numbers: float) -> tuple[float, float, float, float]:
    a, b, c, d = (round(each, 2) for each in numbers)
    return a, b, c, d


def _took(seconds: float | None) -> str:
    return "" if seconds is None else took(seconds)
