"""Who takes part: what each is called, where its code is and what it needs installed."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.environments import Environment


@dataclass(frozen=True)
class Entry:
    """One who takes part."""

    module: str
    environment: Environment | None = None
    """None: the environment of the checkout itself."""
    room: str = ""
    """Shares the room in the store with this other one."""


_DJANGO_TASKS_DB = Environment("django-tasks-db", ("django-tasks-db[compat]", "psycopg[binary]"))
_HUEY = Environment("huey", ("huey", "redis", "hiredis"))

ENTRIES = {
    "djqueue": Entry("djqueue"),
    "operator": Entry("operator"),
    "raw": Entry("raw", room="djqueue"),
    "raw-redis": Entry("raw_redis", room="djqueue"),
    "raw-beanstalkd": Entry("raw_beanstalkd", room="djqueue"),
    "pgqueuer": Entry("pgqueuer", Environment("pgqueuer", ("pgqueuer", "asyncpg", "uvloop"))),
    "procrastinate": Entry(
        "procrastinate", Environment("procrastinate", ("procrastinate", "psycopg[binary,pool]"))
    ),
    "django-tasks-db": Entry("django_tasks_db", _DJANGO_TASKS_DB),
    "huey": Entry("huey", _HUEY),
    "dramatiq": Entry("dramatiq", Environment("dramatiq", ("dramatiq[redis]", "hiredis"))),
    "celery": Entry("celery", Environment("celery", ("celery[redis]", "hiredis"))),
    "django-vtasks": Entry(
        "django_vtasks", Environment("django-vtasks", ("django-vtasks[valkey]",), (3, 12))
    ),
}
