"""A deep table: 200,000 jobs that wait, or 100,000 delayed ones in the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from benchmarks.agents import Agent
from benchmarks.arena import Arena, drained
from benchmarks.figures import Target, percentile
from benchmarks.rounds import Table, play

Measure = Callable[[], Mapping[str, float]]
_EMPTY = "empty table"


def drain(
    arena: Arena, *, waiting: int, delayed: int = 0, statistics: bool | None = None
) -> Measure:
    """`statistics`: fresh, or (False) never gathered, or (None) whatever the server does."""
    scale = arena.scale

    def measure() -> Mapping[str, float]:
        with arena.fresh("djqueue") as agent:
            if statistics is False:
                _never_gather(agent)
            if delayed:
                agent.call("delayed", count=scale.count(delayed))
            agent.call("many", count=scale.count(waiting))
            if statistics:
                gather = {"mariadb": "ANALYZE TABLE jobs"}.get(arena.store.name, "ANALYZE jobs")
                agent.call("run", statement=gather)
            is_sql = arena.store.name in ("postgresql", "sqlite", "mariadb")
            with agent.running(connection="timed" if is_sql else "main") as running:
                rate = drained(running, scale.count(waiting), 60.0)
                seconds = running.sink.path.with_suffix(".seconds")
            if not is_sql:
                return {"rate": rate}
            taken = json.loads(seconds.read_text())
        return {"rate": rate, "p99": percentile(taken, 0.99) * 1000}

    return measure


def _never_gather(agent: Agent) -> None:
    if agent.store["vendor"] == "postgresql":
        agent.call("run", statement="ALTER TABLE jobs SET (autovacuum_enabled = false)")


def sql(arena: Arena) -> list[Table]:
    name = arena.store.name
    contestants: dict[str, Measure] = {_EMPTY: drain(arena, waiting=40_000)}
    for statistics, words in ((True, "fresh statistics"), (False, "none")):
        contestants[f"200,000 waiting, {words}"] = drain(
            arena, waiting=200_000, statistics=statistics
        )
        contestants[f"100,000 delayed, {words}"] = drain(
            arena, waiting=40_000, delayed=100_000, statistics=statistics
        )
    has_target = name != "mariadb"
    deep = [contestant for contestant in contestants if contestant != _EMPTY]
    targets = [Target(each, _EMPTY, at_least=0.9 if has_target else None) for each in deep]
    targets += [
        Target(each, _EMPTY, at_most=2.0 if has_target else None, metric="p99")
        for each in deep
        if "waiting" in each
    ]
    table = Table(
        f"{name}.depth",
        "drain with 200,000 waiting, or 100,000 delayed, in the way; and the reserve statement",
        {"rate": "jobs/s", "p99": "ms a reserve"},
        tuple(targets),
    )
    return [play(table, contestants, arena.scale.rounds)]
