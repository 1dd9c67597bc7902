"""``python -m benchmarks [STORE | SCENARIO | STORE.SCENARIO …] [--rounds N] [--quick]``."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import machine, report
from benchmarks.agents import ROOT
from benchmarks.arena import Scale, opened
from benchmarks.rounds import Table
from benchmarks.scenarios import SCENARIOS, Scenario, chosen
from tests.services import MissingProgram

ROUNDS = 9
RESULTS = ROOT / "build" / "benchmarks"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="STORE|SCENARIO|STORE.SCENARIO")
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS}; with --quick 2")
    parser.add_argument("--quick", action="store_true", help="see that it works; no true figures")
    parser.add_argument("--output", type=Path, default=RESULTS, help="a folder for the results")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if arguments.list:
        for store, names in SCENARIOS.items():
            print(*(f"{store}.{name}" for name in names), sep="\n")
        return 0
    scale = Scale(arguments.rounds or (2 if arguments.quick else ROUNDS), arguments.quick)
    return run(arguments.words, scale, arguments.output)


def run(words: list[str], scale: Scale, output: Path) -> int:
    """Measure, print each table when it is there, and save all of them."""
    began = datetime.datetime.now(datetime.timezone.utc)
    about = {"date": f"{began:%Y-%m-%d}", **machine.describe(), "rounds": str(scale.rounds)}
    if scale.quick:
        about["note"] = "--quick: these figures mean nothing"
    tables: list[Table] = []
    stem = f"{began:%Y%m%d-%H%M%S}"
    for store, scenarios in chosen(words).items():
        for table in measured(store, list(scenarios.values()), scale, about):
            print("\n".join(report.section(table)), end="\n\n", flush=True)
            tables.append(table)
            report.save(output, stem, tables, about)
    print(f"Saved as {output / stem}.md and .json")
    return 0


def measured(
    store: str, scenarios: list[Scenario], scale: Scale, about: dict[str, str]
) -> Iterator[Table]:
    """The tables of one store, each as soon as it is there."""
    try:
        with opened(store, scale) as arena:
            about[store] = arena.store.version()
            for scenario in scenarios:
                yield from scenario(arena)
    except MissingProgram as error:
        print(f"{store} was left out: {error}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
