"""The tables as Markdown, and everything as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import Spread, Target
from benchmarks.rounds import Table


def markdown(tables: Sequence[Table], machine: Mapping[str, str]) -> str:
    """The whole report."""
    lines = ["# Benchmarks", "", *(f"- {key}: {value}" for key, value in machine.items())]
    return "\n".join([*lines, *(line for table in tables for line in ("", *section(table)))]) + "\n"


def section(table: Table) -> Iterator[str]:
    """One table."""
    yield f"## {table.name}: {table.title}"
    yield ""
    metrics = list(table.units)
    heads = [f"{metric}, {table.units[metric]}" for metric in metrics]
    yield _row("", *heads)
    yield _row("---", *["---:"] * len(metrics))
    for name, series in table.series.items():
        yield _row(name, *(_cell(series.get(metric, [])) for metric in metrics))
    yield from (
        f"\n{name} took no part: {why.strip().splitlines()[-1]}"
        for name, why in table.absent.items()
    )
    ratios = [row for target in table.targets for row in _ratio(table, target)]
    if ratios:
        yield ""
        yield _row("", "median", "quartiles", "target", "")
        yield _row("---", "---:", "---:", "---:", "---")
        yield from ratios


def _ratio(table: Table, target: Target) -> Iterator[str]:
    values = target.values(table.series)
    if not values:
        return
    spread = Spread.of(values)
    metric = "" if len(table.units) == 1 else f" ({target.metric})"
    versus = f" {'minus' if target.plus else '÷'} {target.other}" if target.other else ""
    quartiles = f"{_figure(spread.lower)} to {_figure(spread.upper)}"
    verdict = target.verdict(spread)
    shown = f"{target.ours}{versus}{metric}"
    yield _row(shown, _figure(spread.median), quartiles, target.wanted(), verdict)


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""
    spread = Spread.of(values)
    return (
        f"{_figure(spread.median)} ({_figure(spread.lower)} to {_figure(spread.upper)})"
        if len(values) > 1
        else _figure(spread.median)
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def save(folder: Path, stem: str, tables: Sequence[Table], machine: Mapping[str, str]) -> Path:
    """Write both files; the place of the Markdown one."""
    folder.mkdir(parents=True, exist_ok=True)
    data: dict[str, Any] = {
        "machine": dict(machine),
        "tables": [dataclasses.asdict(table) for table in tables],
    }
    (folder / f"{stem}.json").write_text(json.dumps(data, indent=1))
    place = folder / f"{stem}.md"
    place.write_text(markdown(tables, machine))
    return place
