"""One worker and a full queue: jobs a second, from the first start to the last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.arena import Arena, drained
from benchmarks.figures import Target
from benchmarks.rounds import Table, play

Measure = Callable[[], Mapping[str, float]]
_UNITS = {"rate": "jobs/s"}
_LIMIT = 6.0
"""Seconds after which a slow worker is cut off; its rate is that of what it did."""


def worker(arena: Arena, name: str, count: int, fill: str = "many", **options: Any) -> Measure:
    """A worker of contestant `name` that drains `count` jobs."""
    count = arena.scale.count(count)

    def measure() -> Mapping[str, float]:
        agent = arena.agent(name)
        agent.call("clear")
        agent.call(fill, count=count)
        with agent.running(**options) as running:
            return {"rate": drained(running, count, arena.scale.seconds(_LIMIT))}

    return measure


def loop(arena: Arena, count: int, window: int, name: str = "raw") -> Measure:
    """The bare statements, on as many rows."""
    count = arena.scale.count(count)

    def measure() -> Mapping[str, float]:
        agent = arena.agent(name)
        agent.call("clear")
        agent.call("many", count=count)
        return {"rate": agent.call("loop", window=window)}

    return measure


def postgresql(arena: Arena) -> list[Table]:
    table = Table(
        "postgresql.drain",
        "drain of no-op jobs, 1 worker",
        _UNITS,
        (
            Target("djqueue", "raw loop, 100", at_least=0.3),
            Target("djqueue", "pgqueuer, batches of 100", at_least=2.0),
            Target("djqueue", "procrastinate, 10 at a time", at_least=30.0),
            Target("djqueue", "django-tasks-db", at_least=30.0),
        ),
    )
    contestants = {
        "djqueue": worker(arena, "djqueue", 40_000),
        "raw loop, 100": loop(arena, 40_000, 100),
        "pgqueuer, batches of 100": worker(arena, "pgqueuer", 20_000, batch=100),
        "pgqueuer, batches of 10 (its default)": worker(arena, "pgqueuer", 10_000, batch=10),
        "procrastinate, 10 at a time": worker(arena, "procrastinate", 2000, concurrency=10),
        "django-tasks-db": worker(arena, "django-tasks-db", 600),
    }
    return [play(table, contestants, arena.scale.rounds)]


def sqlite(arena: Arena) -> list[Table]:
    table = Table(
        "sqlite.drain",
        "drain of no-op jobs, 1 worker",
        _UNITS,
        (
            Target("djqueue", "raw loop, 100", at_least=0.25),
            Target("djqueue", "huey, its default", at_least=2.0),
            Target("djqueue", "huey, synchronous=OFF", at_least=2.0),
            Target("djqueue", "django-tasks-db"),
        ),
    )
    contestants = {
        "djqueue": worker(arena, "djqueue", 40_000),
        "raw loop, 100": loop(arena, 40_000, 100),
        "huey, its default": worker(arena, "huey", 10_000),
        "huey, synchronous=OFF": worker(arena, "huey", 20_000, fsync=False),
        "django-tasks-db": worker(arena, "django-tasks-db", 1500),
    }
    return [play(table, contestants, arena.scale.rounds)]


def single(arena: Arena) -> list[Table]:
    name = arena.store.name
    least = {"postgresql": 0.5, "sqlite": 0.4}.get(name)
    targets = (Target("djqueue, WINDOW 1", "raw loop, 1", at_least=least),) if least else ()
    contestants = {"djqueue, WINDOW 1": worker(arena, "djqueue", 4000, connection="single")}
    if least:
        contestants["raw loop, 1"] = loop(arena, 4000, 1)
    table = Table(f"{name}.single", "the same, windows of one", _UNITS, targets)
    return [play(table, contestants, arena.scale.rounds)]


def children(arena: Arena) -> list[Table]:
    name = arena.store.name
    least = {"postgresql": 1.8, "sqlite": 1.7}.get(name)
    table = Table(
        f"{name}.children",
        "two children beside one, jobs that sleep 2 ms",
        _UNITS,
        (Target("2 children", "1 child", at_least=least),),
    )
    contestants = {
        f"{number} child{'ren' if number > 1 else ''}": worker(
            arena, "djqueue", 1500 * number, "naps", arguments=["--workers", str(number)]
        )
        for number in (1, 2)
    }
    return [play(table, contestants, arena.scale.rounds)]


def statistics(arena: Arena) -> list[Table]:
    """What the counts of each minute cost."""
    name = arena.store.name
    table = Table(
        f"{name}.statistics",
        "drain of no-op jobs with statistics, beside one without",
        _UNITS,
        (Target("with", "without", at_least=0.97),),
    )
    contestants = {
        word: worker(arena, "djqueue", 60_000, settings={"STATISTICS": kept})
        for word, kept in (("with", True), ("without", False))
    }
    return [play(table, contestants, arena.scale.rounds)]


def reported(arena: Arena) -> list[Table]:
    table = Table(f"{arena.store.name}.drain", "drain of no-op jobs, 1 worker", _UNITS)
    return [play(table, {"djqueue": worker(arena, "djqueue", 20_000)}, arena.scale.rounds)]
