"""Redis and beanstalkd: the same rows, beside their own raw loops and queues."""

from __future__ import annotations

from benchmarks.arena import Arena
from benchmarks.figures import Target
from benchmarks.rounds import Table, play
from benchmarks.scenarios.depth import drain as deep_drain
from benchmarks.scenarios.dispatching import called
from benchmarks.scenarios.draining import loop, worker
from benchmarks.scenarios.pickup import idle_worker

_RATE = {"rate": "jobs/s"}
_MILLISECONDS = {"p50": "ms", "p99": "ms"}
_OFTEN = (0.01, 0.04)


def redis_dispatch(arena: Arena) -> list[Table]:
    table = Table(
        "redis.dispatch",
        "dispatch() one by one",
        _RATE,
        (
            Target("djqueue", "EVALSHA of the same script", at_least=0.8),
            Target("djqueue", "raw RPUSH", at_least=0.6),
            Target("djqueue", "huey"),
            Target("djqueue", "django-vtasks"),
        ),
    )
    contestants = {
        "djqueue": called(arena, "djqueue", "dispatch", 5000),
        "EVALSHA of the same script": called(arena, "raw-redis", "evalsha", 5000),
        "raw RPUSH": called(arena, "raw-redis", "rpush", 5000),
        "huey": called(arena, "huey", "dispatch", 5000),
        "django-vtasks": called(arena, "django-vtasks", "dispatch", 5000),
    }
    return [play(table, contestants, arena.scale.rounds)]


def redis_many(arena: Arena) -> list[Table]:
    table = Table(
        "redis.many",
        "dispatch_many()",
        _RATE,
        (Target("djqueue", "django-vtasks", at_least=3.0),),
    )
    contestants = {
        "djqueue": called(arena, "djqueue", "dispatch_many", 50_000),
        "django-vtasks": called(arena, "django-vtasks", "dispatch_many", 30_000),
    }
    return [play(table, contestants, arena.scale.rounds)]


def redis_drain(arena: Arena) -> list[Table]:
    raw = "raw loop, 100"
    least = {raw: 0.25, "django-vtasks": 4.0, "huey": 10.0, "dramatiq": 10.0, "celery": 10.0}
    targets = (Target("djqueue", other, at_least=each) for other, each in least.items())
    table = Table("redis.drain", "drain of no-op jobs, 1 worker", _RATE, tuple(targets))
    contestants = {
        "djqueue": worker(arena, "djqueue", 40_000),
        raw: loop(arena, 40_000, 100, "raw-redis"),
        "django-vtasks": worker(arena, "django-vtasks", 10_000),
        "huey": worker(arena, "huey", 5000),
        "dramatiq": worker(arena, "dramatiq", 5000),
        "celery": worker(arena, "celery", 2000),
    }
    return [play(table, contestants, arena.scale.rounds)]


def redis_pickup(arena: Arena) -> list[Table]:
    table = Table(
        "redis.pickup",
        "pickup on an idle worker, after dispatch() returned",
        _MILLISECONDS,
        (Target("djqueue", "huey", metric="p50", plus=0.5),),
    )
    contestants = {
        "djqueue": idle_worker(arena, "djqueue", 200, _OFTEN),
        "huey": idle_worker(arena, "huey", 200, _OFTEN),
        "django-vtasks": idle_worker(arena, "django-vtasks", 200, _OFTEN),
    }
    return [play(table, contestants, arena.scale.rounds)]


def redis_depth(arena: Arena) -> list[Table]:
    contestants = {
        "empty queue": deep_drain(arena, waiting=40_000),
        "200,000 waiting": deep_drain(arena, waiting=200_000),
        "100,000 delayed": deep_drain(arena, waiting=40_000, delayed=100_000),
    }
    deep = [name for name in contestants if name != "empty queue"]
    table = Table(
        "redis.depth",
        "drain with 200,000 waiting, or 100,000 delayed, in the way",
        _RATE,
        tuple(Target(name, "empty queue", at_least=0.9) for name in deep),
    )
    return [play(table, contestants, arena.scale.rounds)]


def beanstalkd_dispatch(arena: Arena) -> list[Table]:
    table = Table(
        "beanstalkd.dispatch",
        "dispatch() one by one",
        _RATE,
        (Target("djqueue", "raw put", at_least=0.6),),
    )
    contestants = {
        "djqueue": called(arena, "djqueue", "dispatch", 5000),
        "raw put": called(arena, "raw-beanstalkd", "put", 5000),
    }
    return [play(table, contestants, arena.scale.rounds)]


def beanstalkd_many(arena: Arena) -> list[Table]:
    table = Table(
        "beanstalkd.many",
        "dispatch_many()",
        _RATE,
        (Target("djqueue", "raw puts, 100 a send", at_least=0.4),),
    )
    contestants = {
        "djqueue": called(arena, "djqueue", "dispatch_many", 30_000),
        "raw puts, 100 a send": called(arena, "raw-beanstalkd", "put_many", 30_000),
    }
    return [play(table, contestants, arena.scale.rounds)]


def beanstalkd_drain(arena: Arena) -> list[Table]:
    raw = "raw loop, 50 in flight"
    table = Table(
        "beanstalkd.drain",
        "drain of no-op jobs, 1 worker",
        _RATE,
        (Target("djqueue", raw, at_least=0.3),),
    )
    contestants = {
        "djqueue": worker(arena, "djqueue", 30_000),
        raw: loop(arena, 30_000, 50, "raw-beanstalkd"),
    }
    return [play(table, contestants, arena.scale.rounds)]


def beanstalkd_pickup(arena: Arena) -> list[Table]:
    table = Table(
        "beanstalkd.pickup",
        "pickup on an idle worker, after dispatch() returned",
        _MILLISECONDS,
        (Target("djqueue", at_most=2.0, metric="p50"),),
    )
    contestants = {"djqueue": idle_worker(arena, "djqueue", 200, _OFTEN)}
    return [play(table, contestants, arena.scale.rounds)]
