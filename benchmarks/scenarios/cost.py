"""What a worker costs: processor time, memory, the time until it works, and doing nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.arena import PATIENCE, Arena
from benchmarks.figures import Target
from benchmarks.processes import family, processor_seconds, proportional_megabytes
from benchmarks.rounds import Table, play

Measure = Callable[[], Mapping[str, float]]


def processor(arena: Arena) -> list[Table]:
    """Between the first job and the last, so without the start."""
    table = Table(
        "postgresql.cpu",
        "processor seconds per 10,000 no-op jobs",
        {"both": "s, worker and server", "worker": "s, worker alone"},
        (Target("djqueue", "pgqueuer, batches of 100", at_most=1.0, metric="both"),),
    )
    contestants = {
        "djqueue": _spent(arena, "djqueue", 100_000),
        "pgqueuer, batches of 100": _spent(arena, "pgqueuer", 40_000, batch=100),
    }
    return [play(table, contestants, arena.scale.rounds)]


def _spent(arena: Arena, name: str, count: int, **options: Any) -> Measure:
    count = arena.scale.count(count)

    def measure() -> Mapping[str, float]:
        agent = arena.agent(name)
        agent.call("clear")
        agent.call("many", count=count)
        with agent.running(**options) as running:
            running.wait_for(1, PATIENCE)
            done = running.sink.count()
            before = _cost(arena, running.pid)
            running.wait_for(count, 120.0)
            after = _cost(arena, running.pid)
        share = 10_000 / (count - done)
        worker, server = ((b - a) * share for a, b in zip(before, after, strict=True))
        return {"both": worker + server, "worker": worker}

    return measure


def _cost(arena: Arena, pid: int) -> tuple[float, float]:
    return processor_seconds(family(pid)), processor_seconds(arena.store.pids)


def start(arena: Arena) -> list[Table]:
    has_target = arena.store.name != "mariadb"
    most = 1.3 if has_target else None
    table = Table(
        f"{arena.store.name}.start",
        "one worker, parent and one child, in a bare project",
        {"memory": "MB, proportional", "first": "ms from django.setup() to the first job"},
        (
            Target("djqueue", "django.setup()", at_most=most, metric="memory"),
            Target("djqueue", at_most=300.0 if has_target else None, metric="first"),
        ),
    )
    contestants = {"djqueue": _started(arena), "django.setup()": _set_up(arena)}
    return [play(table, contestants, arena.scale.rounds)]


def _started(arena: Arena) -> Measure:
    count = arena.scale.count(2000)

    def measure() -> Mapping[str, float]:
        agent = arena.agent("djqueue")
        agent.call("clear")
        agent.call("many", count=count)
        with agent.running() as running:
            running.wait_for(count, PATIENCE)
            time.sleep(0.2)
            memory = proportional_megabytes(family(running.pid))
            ready = int(running.sink.path.with_suffix(".ready").read_text())
            first = running.sink.records()[0][0]
        return {"memory": memory, "first": (first - ready) / 1e6}

    return measure


def _set_up(arena: Arena) -> Measure:
    def measure() -> Mapping[str, float]:
        with arena.agent("djqueue").running("hold") as running:
            running.wait_for(1, PATIENCE)
            return {"memory": proportional_megabytes(family(running.pid))}

    return measure


def idle(arena: Arena) -> list[Table]:
    """Later than two seconds after the last job."""
    name = arena.store.name
    table = Table(
        f"{name}.idle",
        "an idle worker",
        {"share": "% of a processor"},
        (Target("djqueue", at_most=0.5 if name == "sqlite" else None, metric="share"),),
    )
    return [play(table, {"djqueue": _idle(arena)}, arena.scale.rounds)]


def _idle(arena: Arena) -> Measure:
    seconds = arena.scale.seconds(15.0)

    def measure() -> Mapping[str, float]:
        agent = arena.agent("djqueue")
        agent.call("clear")
        agent.call("one", number=0)
        with agent.running() as running:
            running.wait_for(1, PATIENCE)
            time.sleep(2.5)
            before = processor_seconds(family(running.pid))
            time.sleep(seconds)
            spent = processor_seconds(family(running.pid)) - before
        return {"share": spent / seconds * 100}

    return measure
