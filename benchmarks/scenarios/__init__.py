"""What is measured at which store. A scenario is a function from an `Arena` to its tables."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.arena import Arena
from benchmarks.rounds import Table
from benchmarks.scenarios import bound, brokers, cost, depth, dispatching, draining, pickup, screens

Scenario = Callable[[Arena], list[Table]]

SCENARIOS: dict[str, dict[str, Scenario]] = {
    "postgresql": {
        "dispatch": dispatching.postgresql,
        "many": dispatching.postgresql_many,
        "drain": draining.postgresql,
        "single": draining.single,
        "statistics": draining.statistics,
        "children": draining.children,
        "pickup": pickup.postgresql,
        "polling": pickup.polling,
        "depth": depth.sql,
        "screens": screens.sql,
        "cpu": cost.processor,
        "start": cost.start,
        "idle": cost.idle,
        "batch": bound.batch,
        "napping": bound.napping,
        "fleet": bound.fleet,
        "batching": bound.batching,
        "chain": bound.chain,
        "failing": bound.failing,
        "results": bound.results,
    },
    "sqlite": {
        "dispatch": dispatching.sqlite,
        "many": dispatching.sqlite_many,
        "drain": draining.sqlite,
        "single": draining.single,
        "statistics": draining.statistics,
        "children": draining.children,
        "pickup": pickup.sqlite,
        "depth": depth.sql,
        "screens": screens.sql,
        "start": cost.start,
        "idle": cost.idle,
    },
    "mariadb": {
        "dispatch": dispatching.reported,
        "many": dispatching.reported_many,
        "drain": draining.reported,
        "single": draining.single,
        "children": draining.children,
        "pickup": pickup.reported,
        "depth": depth.sql,
        "start": cost.start,
    },
    "redis": {
        "dispatch": brokers.redis_dispatch,
        "many": brokers.redis_many,
        "drain": brokers.redis_drain,
        "statistics": draining.statistics,
        "pickup": brokers.redis_pickup,
        "depth": brokers.redis_depth,
        "screens": screens.redis,
        "idle": cost.idle,
        "batch": bound.batch,
        "napping": bound.napping,
        "batching": bound.batching,
        "chord": bound.chord,
        "chains": bound.chains,
    },
    "beanstalkd": {
        "dispatch": brokers.beanstalkd_dispatch,
        "many": brokers.beanstalkd_many,
        "drain": brokers.beanstalkd_drain,
        "pickup": brokers.beanstalkd_pickup,
        "idle": cost.idle,
    },
}


def chosen(words: list[str]) -> dict[str, dict[str, Scenario]]:
    """The scenarios that `words` name: a store, a scenario, or both as in sqlite.drain."""
    found: dict[str, dict[str, Scenario]] = {}
    unknown = set(words)
    for store, scenarios in SCENARIOS.items():
        for name, scenario in scenarios.items():
            matching = {store, name, f"{store}.{name}"} & set(words)
            unknown -= matching
            if matching or not words:
                found.setdefault(store, {})[name] = scenario
    if unknown:
        raise SystemExit(f"There is no {', '.join(sorted(unknown))}: see --list.")
    return found
