"""The admin with many rows: how long each page takes, and what is done to all rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.agents import Agent
from benchmarks.arena import Arena
from benchmarks.figures import Target
from benchmarks.rounds import Table, play

Measure = Callable[[], Mapping[str, float]]

ROWS = 100_000
"""Failed jobs, jobs that wait, and delayed ones: so many of each."""
IN_REDIS = 1_000_000
MOST_MS = {"postgresql": 100.0, "sqlite": 150.0}
"""The most milliseconds of a page."""
MOST_QUERIES = 8
LONGEST_SCRIPT = 20.0
"""Milliseconds of the server."""


def sql(arena: Arena) -> list[Table]:
    """Look at every page, then retry half of the failed jobs and forget the rest."""
    name, rows = arena.store.name, arena.scale.count(ROWS)
    with arena.fresh("operator") as empty, arena.fresh("operator") as full:
        full.call("fill", failed=rows, waiting=rows, delayed=rows)
        looked = play(_pages(name, full), _looks(full, empty), arena.scale.rounds)
        table = Table(
            f"{name}.acts",
            f"everything that matches, of {rows:,} failed jobs",
            {
                "rate": "rows/s",
                "processor": "ms of processors a row",
                "grown": "MB that the web process has grown",
            },
            tuple(
                Target(act, at_least=least, at_most=most, metric=metric)
                for act in ("retry", "forget")
                for metric, least, most in (("rate", ROWS / 60, None), ("grown", None, 50.0))
            ),
        )
        acts: dict[str, Measure] = {
            "retry": lambda: full.call("act", model="failedjob", verb="retry", query="?queue=mail"),
            "forget": lambda: full.call("act", model="failedjob", verb="forget"),
        }
        return [looked, play(table, acts, 1)]


def redis(arena: Arena) -> list[Table]:
    """Look at the pages of a queue with very many jobs, and at the slowest script that they ran."""
    rows = arena.scale.count(IN_REDIS)
    with arena.fresh("operator") as full:
        full.call("fill_store", count=rows)
        pages = full.call("addresses_in_store")
        table = Table(
            "redis.screens",
            f"pages with {rows:,} waiting jobs",
            {"ms": "ms", "processor": "ms of the web process", "script": "ms of a script"},
            tuple(Target(page, at_most=LONGEST_SCRIPT, metric="script") for page in pages),
        )
        return [play(table, {what: _look(full, url) for what, url in pages.items()}, 1)]


def _pages(name: str, full: Agent) -> Table:
    pages = full.call("addresses")
    targets = [
        Target(page, at_most=most, metric=metric)
        for page in pages
        for metric, most in (("ms", MOST_MS[name]), ("queries", MOST_QUERIES))
    ]
    return Table(
        f"{name}.screens",
        "pages of the admin",
        {
            "ms": "ms",
            "processor": "ms of processors",
            "queries": "statements",
            "empty": "ms of processors without rows",
        },
        tuple(targets),
    )


def _looks(full: Agent, empty: Agent) -> dict[str, Measure]:
    before = empty.call("addresses")

    def look(what: str, url: str) -> Measure:
        def measure() -> Mapping[str, float]:
            found: dict[str, Any] = full.call("look", address=url)
            without = empty.call("look", address=before.get(what, url)) if what in before else {}
            return {**found, **({"empty": without["processor"]} if without else {})}

        return measure

    return {what: look(what, url) for what, url in full.call("addresses").items()}


def _look(agent: Agent, url: str) -> Measure:
    return lambda: agent.call("look_in_store", address=url)
