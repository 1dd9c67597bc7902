"""Jobs that are bound to others, or that something follows from, beside the same jobs alone."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.agents import AgentFailed, Running
from benchmarks.arena import PATIENCE, Arena
from benchmarks.figures import Target, percentile
from benchmarks.processes import family, processor_seconds
from benchmarks.rounds import Table, play
from benchmarks.scenarios.dispatching import called
from benchmarks.scenarios.pickup import idle_worker

Measure = Callable[[], Mapping[str, float]]

ALONE = "the same jobs alone"
_UNITS = {"rate": "jobs/s", "cost": "processor s for 10,000"}
_LIMIT = 60.0


def _drain(
    arena: Arena, count: int, fill: str, workers: int = 1, arguments: Sequence[str] = ()
) -> Measure:
    """`workers` workers that drain `count` jobs: how fast, and what they and the server spent."""
    count = arena.scale.count(count)

    def measure() -> Mapping[str, float]:
        agent = arena.agent("djqueue")
        agent.call("clear")
        agent.call(fill, count=count)
        with contextlib.ExitStack() as stack:
            all_of_them = [
                stack.enter_context(agent.running(arguments=list(arguments)))
                for _ in range(workers)
            ]
            _wait(all_of_them, 1, PATIENCE)
            done, before = _count(all_of_them), _cost(arena, all_of_them)
            _wait(all_of_them, count, _LIMIT)
            spent = _cost(arena, all_of_them) - before
            moments = sorted(at for each in all_of_them for at, _ in each.sink.records())
        rate = (len(moments) - 1) / ((moments[-1] - moments[0]) / 1e9)
        return {"rate": rate, "cost": spent * 10_000 / max(len(moments) - done, 1)}

    return measure


def _count(workers: Sequence[Running]) -> int:
    return sum(each.sink.count() for each in workers)


def _wait(workers: Sequence[Running], count: int, patience: float) -> None:
    end = time.monotonic() + patience
    while _count(workers) < count and time.monotonic() < end:
        if any(each.process.poll() is not None for each in workers):
            raise AgentFailed("A worker ended by itself.")
        time.sleep(0.002)


def _cost(arena: Arena, workers: Sequence[Running]) -> float:
    of_workers = sum(processor_seconds(family(each.pid)) for each in workers)
    return of_workers + processor_seconds(arena.store.pids)


def batch(arena: Arena) -> list[Table]:
    least = {"postgresql": 0.5, "redis": 0.25}[arena.store.name]
    table = Table(
        f"{arena.store.name}.batch",
        "drain of a batch of no-op members, 1 worker",
        _UNITS,
        (Target("batch", ALONE, at_least=least), Target("batch", ALONE, metric="cost")),
    )
    contestants = {
        "batch": _drain(arena, 20_000, "batched"),
        ALONE: _drain(arena, 20_000, "many"),
    }
    return [play(table, contestants, arena.scale.rounds)]


def napping(arena: Arena) -> list[Table]:
    least = {"postgresql": 0.9, "redis": 0.8}[arena.store.name]
    table = Table(
        f"{arena.store.name}.napping",
        "drain of a batch of jobs that sleep 2 ms, 4 children",
        _UNITS,
        (Target("batch", ALONE, at_least=least), Target("batch", ALONE, metric="cost")),
    )
    four = ("--workers", "4")
    contestants = {
        "batch": _drain(arena, 6000, "batched_naps", arguments=four),
        ALONE: _drain(arena, 6000, "naps", arguments=four),
    }
    return [play(table, contestants, arena.scale.rounds)]


def fleet(arena: Arena) -> list[Table]:
    table = Table(
        f"{arena.store.name}.fleet",
        "drain of a batch of jobs that sleep 5 ms, workers of one child",
        _UNITS,
        (Target("8 workers", "2 workers", at_least=3.0),),
    )
    contestants = {
        f"{number} workers": _drain(arena, 700 * number, "batched_rests", number)
        for number in (2, 8)
    }
    return [play(table, contestants, arena.scale.rounds)]


def batching(arena: Arena) -> list[Table]:
    """Dispatching a batch, and how much its process grows by it."""
    many = "dispatch_many()"
    table = Table(
        f"{arena.store.name}.batching",
        "dispatch of a batch of 100,000",
        {"rate": "jobs/s", "cost": "processor s for 10,000", "growth": "MB"},
        (
            Target("batch", many, at_least=0.7),
            Target("batch", many, metric="cost"),
            Target("batch", at_most=8.0, metric="growth"),
        ),
    )
    contestants = {
        "batch": _dispatched(arena, "dispatch_batch"),
        many: _dispatched(arena, "dispatch_plain"),
    }
    return [play(table, contestants, arena.scale.rounds)]


def _dispatched(arena: Arena, method: str) -> Measure:
    count = arena.scale.count(100_000)

    def measure() -> Mapping[str, float]:
        agent = arena.agent("djqueue")
        agent.call("clear")
        before = processor_seconds(arena.store.pids)
        seconds, spent, growth = agent.call(method, count=count)
        spent += processor_seconds(arena.store.pids) - before
        return {"rate": count / seconds, "cost": spent * 10_000 / count, "growth": growth}

    return measure


def results(arena: Arena) -> list[Table]:
    table = Table(
        f"{arena.store.name}.results",
        "dispatch_many() of jobs whose results are kept",
        {"rate": "jobs/s"},
        (Target("store_result", "without", at_least=0.6),),
    )
    contestants = {
        "store_result": called(arena, "djqueue", "dispatch_kept", 50_000),
        "without": called(arena, "djqueue", "dispatch_many", 50_000),
    }
    return [play(table, contestants, arena.scale.rounds)]


def failing(arena: Arena) -> list[Table]:
    plain = "jobs that succeed"
    table = Table(
        f"{arena.store.name}.failing",
        "drain of jobs that fail, tries=1, 1 worker",
        _UNITS,
        (Target("failing", plain, at_least=0.15), Target("failing", plain, metric="cost")),
    )
    contestants = {
        "failing": _drain(arena, 5000, "failing"),
        plain: _drain(arena, 20_000, "many"),
    }
    return [play(table, contestants, arena.scale.rounds)]


# -- chains ----------------------------------------------------------------------------------------


def chain(arena: Arena) -> list[Table]:
    table = Table(
        f"{arena.store.name}.chain",
        "a chain of 1,000 steps, and pickup on an idle worker",
        {"p50": "ms", "first": "ms, the first 200 steps", "last": "ms, the last 200"},
        (
            Target("step", "step", at_most=1.1, metric="last", against="first"),
            Target("step", "pickup", at_most=2.0, metric="p50"),
        ),
    )
    contestants = {
        "step": _steps(arena, 1000),
        "pickup": idle_worker(arena, "djqueue", 200, (0.01, 0.04)),
    }
    return [play(table, contestants, arena.scale.rounds)]


def _steps(arena: Arena, count: int) -> Measure:
    """From the end of a step to the start of the next one, and from start to start."""
    count = arena.scale.count(count)

    def measure() -> Mapping[str, float]:
        agent = arena.agent("djqueue")
        agent.call("clear")
        agent.call("one", number=-2)
        with agent.running() as running:
            running.wait_for(1, PATIENCE)
            agent.call("chained", count=count)
            running.wait_for(2 * count + 1, _LIMIT)
            moments = {number: at / 1e6 for at, number in running.sink.records()}
        begun = [moments[2 * at] for at in range(count)]
        ended = [moments[2 * at + 1] for at in range(count)]
        waits = [start - end for start, end in zip(begun[1:], ended, strict=False)]
        part = max(count // 5, 1)
        return {
            "p50": percentile(waits, 0.5),
            "first": percentile(_between(begun[: part + 1]), 0.5),
            "last": percentile(_between(begun[-part - 1 :]), 0.5),
        }

    return measure


def _between(moments: Sequence[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(moments)]


# -- beside Celery ---------------------------------------------------------------------------------


def chord(arena: Arena) -> list[Table]:
    table = Table(
        "redis.chord",
        "a batch from its dispatch to its last callback, members that do nothing",
        {"rate": "members/s"},
        (Target("djqueue, batch", "celery, chord", at_least=1.0),),
    )
    contestants = {
        "djqueue, batch": _whole(arena, "djqueue", "batch_to_end", 2000),
        "celery, chord": _whole(arena, "celery", "chord", 2000),
    }
    return [play(table, contestants, arena.scale.rounds)]


def chains(arena: Arena) -> list[Table]:
    table = Table(
        "redis.chains",
        "a chain from its dispatch to its last step, steps that do nothing",
        {"rate": "steps/s"},
        (Target("djqueue, chain", "celery, chain", at_least=1.0),),
    )
    contestants = {
        "djqueue, chain": _whole(arena, "djqueue", "chain_to_end", 200),
        "celery, chain": _whole(arena, "celery", "chain", 200),
    }
    return [play(table, contestants, arena.scale.rounds)]


LAST = -7
"""The number of the job that comes when all others have run."""


def _whole(arena: Arena, name: str, method: str, count: int, **options: Any) -> Measure:
    """Jobs a second, from the beginning of the dispatch to the job that comes last."""
    count = arena.scale.count(count)

    def measure() -> Mapping[str, float]:
        agent = arena.agent(name)
        agent.call("clear")
        agent.call("one", number=-2)
        with agent.running(**options) as running:
            running.wait_for(1, PATIENCE)
            began = agent.call(method, count=count, last=LAST)
            running.wait_for(count + 2, _LIMIT)
            moments = {number: at for at, number in running.sink.records()}
        if LAST not in moments:
            raise AgentFailed(f"{name} did not come to the last job within {_LIMIT:g} s.")
        return {"rate": count / ((moments[LAST] - began) / 1e9)}

    return measure
