"""Interleaving: in each round everybody is measured once, so that noise meets all alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.agents import AgentFailed
from benchmarks.environments import Absent
from benchmarks.figures import Target

Measure = Callable[[], Mapping[str, float]]


@dataclass
class Table:
    """What a scenario found."""

    name: str
    title: str
    units: Mapping[str, str]
    """Of each metric."""
    targets: tuple[Target, ...] = ()
    series: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Contestant, metric, one value a round."""
    absent: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def play(table: Table, contestants: Mapping[str, Measure], rounds: int) -> Table:
    """Measure everybody `rounds` times; who fails is left out from then on, with the reason."""
    names = list(contestants)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:  # nobody always comes first
            if name not in table.absent:
                _measure(table, name, contestants[name])
        print(f"  {table.name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return table


def _measure(table: Table, name: str, measure: Measure) -> None:
    try:
        figures = measure()
    except (Absent, AgentFailed) as reason:
        table.absent[name] = str(reason)
        table.series.pop(name, None)
        print(f"  {name} is out: {reason}", file=sys.stderr, flush=True)
        return
    for metric, value in figures.items():
        table.series.setdefault(name, {}).setdefault(metric, []).append(value)
