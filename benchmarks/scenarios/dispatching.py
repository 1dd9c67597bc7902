"""Dispatching one by one, each committed; and in bulk."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.arena import Arena
from benchmarks.figures import Target
from benchmarks.rounds import Table, play

_UNITS = {"rate": "jobs/s"}


def called(arena: Arena, name: str, method: str, count: int) -> Callable[[], Mapping[str, float]]:
    count = arena.scale.count(count)

    def measure() -> Mapping[str, float]:
        agent = arena.agent(name)
        agent.call("clear")
        return {"rate": agent.call(method, count=count)}

    return measure


def _table(arena: Arena, name: str, title: str, *targets: Target) -> Table:
    return Table(f"{arena.store.name}.{name}", title, _UNITS, targets)


def postgresql(arena: Arena) -> list[Table]:
    table = _table(
        arena,
        "dispatch",
        "dispatch() one by one, committed",
        Target("djqueue", "the same INSERT, Django's cursor", at_least=0.8),
        Target("djqueue", "the same INSERT, prepared"),
        Target("djqueue", "pgqueuer", at_least=1.0),
    )
    contestants = {
        "djqueue": called(arena, "djqueue", "dispatch", 3000),
        "the same INSERT, Django's cursor": called(arena, "raw", "insert", 3000),
        "the same INSERT, prepared": called(arena, "raw", "insert_prepared", 3000),
        "pgqueuer": called(arena, "pgqueuer", "dispatch", 3000),
        "procrastinate": called(arena, "procrastinate", "dispatch", 1500),
        "django-tasks-db": called(arena, "django-tasks-db", "dispatch", 1500),
    }
    return [play(table, contestants, arena.scale.rounds)]


def postgresql_many(arena: Arena) -> list[Table]:
    table = _table(
        arena,
        "many",
        "dispatch_many()",
        Target("djqueue", "pgqueuer", at_least=1.2),
        Target("djqueue", "procrastinate", at_least=4.0),
        Target("djqueue", "bare COPY of ready rows"),
    )
    contestants = {
        "djqueue": called(arena, "djqueue", "dispatch_many", 50_000),
        "bare COPY of ready rows": called(arena, "raw", "insert_many", 50_000),
        "pgqueuer": called(arena, "pgqueuer", "dispatch_many", 30_000),
        "procrastinate": called(arena, "procrastinate", "dispatch_many", 15_000),
    }
    return [play(table, contestants, arena.scale.rounds)]


def sqlite(arena: Arena) -> list[Table]:
    table = _table(
        arena,
        "dispatch",
        "dispatch() one by one, committed (synchronous=FULL, Django's default, for all)",
        Target("djqueue", "the same INSERT, Django's cursor", at_least=0.5),
        Target("djqueue", "django-tasks-db", at_least=3.0),
    )
    contestants = {
        "djqueue": called(arena, "djqueue", "dispatch", 5000),
        "the same INSERT, Django's cursor": called(arena, "raw", "insert", 5000),
        "django-tasks-db": called(arena, "django-tasks-db", "dispatch", 2000),
        "huey": called(arena, "huey", "dispatch", 5000),
    }
    return [play(table, contestants, arena.scale.rounds)]


def sqlite_many(arena: Arena) -> list[Table]:
    table = _table(
        arena,
        "many",
        "dispatch_many()",
        Target("djqueue", "executemany of ready rows", at_least=0.2),
    )
    contestants = {
        "djqueue": called(arena, "djqueue", "dispatch_many", 50_000),
        "executemany of ready rows": called(arena, "raw", "insert_many", 50_000),
    }
    return [play(table, contestants, arena.scale.rounds)]


def reported(arena: Arena) -> list[Table]:
    table = _table(
        arena,
        "dispatch",
        "dispatch() one by one, committed",
        Target("djqueue", "the same INSERT, Django's cursor"),
    )
    contestants = {
        "djqueue": called(arena, "djqueue", "dispatch", 2000),
        "the same INSERT, Django's cursor": called(arena, "raw", "insert", 2000),
    }
    return [play(table, contestants, arena.scale.rounds)]


def reported_many(arena: Arena) -> list[Table]:
    table = _table(arena, "many", "dispatch_many()")
    contestants = {"djqueue": called(arena, "djqueue", "dispatch_many", 20_000)}
    return [play(table, contestants, arena.scale.rounds)]
