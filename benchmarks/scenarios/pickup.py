"""How soon an idle worker begins a job, counted from when dispatch() had returned."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.arena import PATIENCE, Arena
from benchmarks.figures import Target, percentile
from benchmarks.rounds import Table, play

Measure = Callable[[], Mapping[str, float]]
_UNITS = {"p50": "ms", "p99": "ms"}
_POLL = 0.2


def _pauses(count: int, shortest: float, longest: float) -> list[float]:
    """Without a rhythm: no poll must be in step with the dispatches."""
    return [random.uniform(shortest, longest) for _ in range(count)]


def _figures(seconds: Sequence[float]) -> Mapping[str, float]:
    return {
        "p50": percentile(seconds, 0.5) * 1000,
        "p99": percentile(seconds, 0.99) * 1000,
    }


def idle_worker(
    arena: Arena, name: str, count: int, between: tuple[float, float], **options: Any
) -> Measure:
    """Jobs dispatched one at a time to a worker that sleeps."""
    count = arena.scale.count(count)

    def measure() -> Mapping[str, float]:
        agent = arena.agent(name)
        agent.call("clear")
        agent.call("one", number=-2)
        with agent.running(**options) as running:
            running.wait_for(1, PATIENCE)
            returned = agent.call("pickup", pauses=_pauses(count, *between))
            running.wait_for(count + 2, 10.0)
            began = {number: moment for moment, number in running.sink.records()}
        pairs = [(began[i], moment) for i, moment in enumerate(returned) if i in began]
        return _figures([(start - end) / 1e9 for start, end in pairs])

    return measure


def _raw_notify(arena: Arena) -> Measure:
    count = arena.scale.count(200)

    def measure() -> Mapping[str, float]:
        return _figures(arena.agent("raw").call("notify", pauses=_pauses(count, 0.01, 0.04)))

    return measure


def postgresql(arena: Arena) -> list[Table]:
    raw = "raw NOTIFY to LISTEN"
    table = Table(
        "postgresql.pickup",
        "pickup on an idle worker, after dispatch() returned",
        _UNITS,
        (
            Target("djqueue", raw, at_most=4.0, metric="p50"),
            Target("djqueue", raw, at_most=10.0, metric="p99", against="p50"),
            Target("djqueue", "pgqueuer", metric="p50"),
            Target("djqueue", "procrastinate", metric="p50"),
        ),
    )
    often = (0.01, 0.04)
    contestants = {
        "djqueue": idle_worker(arena, "djqueue", 200, often),
        raw: _raw_notify(arena),
        "pgqueuer": idle_worker(arena, "pgqueuer", 200, often),
        "procrastinate": idle_worker(arena, "procrastinate", 100, often),
    }
    return [play(table, contestants, arena.scale.rounds)]


def polling(arena: Arena) -> list[Table]:
    table = Table(
        "postgresql.polling",
        f"the same without LISTEN, --sleep {_POLL:g}",
        _UNITS,
        (Target("djqueue, polling", at_most=_POLL / 2 * 1000, metric="p50"),),
    )
    contestants = {
        "djqueue, polling": idle_worker(
            arena,
            "djqueue",
            40,
            (_POLL, 2 * _POLL),
            connection="polling",
            arguments=["--sleep", str(_POLL)],
        )
    }
    return [play(table, contestants, arena.scale.rounds)]


def sqlite(arena: Arena) -> list[Table]:
    table = Table(
        "sqlite.pickup",
        "pickup on an idle worker, after dispatch() returned",
        _UNITS,
        (
            Target("djqueue, within 2 s of the last job", at_most=6.0, metric="p50"),
            Target("djqueue, later", at_most=30.0, metric="p50"),
            Target("djqueue, within 2 s of the last job", "huey", metric="p50"),
        ),
    )
    contestants = {
        "djqueue, within 2 s of the last job": idle_worker(arena, "djqueue", 100, (0.02, 0.1)),
        "djqueue, later": idle_worker(arena, "djqueue", 20, (2.2, 2.6)),
        "huey": idle_worker(arena, "huey", 40, (0.02, 0.1)),
    }
    return [play(table, contestants, arena.scale.rounds)]


def reported(arena: Arena) -> list[Table]:
    name = arena.store.name
    table = Table(f"{name}.pickup", f"pickup on an idle worker, --sleep {_POLL:g}", _UNITS)
    measure = idle_worker(
        arena, "djqueue", 40, (_POLL, 2 * _POLL), arguments=["--sleep", str(_POLL)]
    )
    return [play(table, {"djqueue": measure}, arena.scale.rounds)]
