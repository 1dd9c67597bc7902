"""django-vtasks on Redis, through its client in Rust, twenty jobs at a time, its default."""

from __future__ import annotations

import sys
import types
from typing import Any

from benchmarks.contestants import base
from benchmarks.sink import record

_CHUNK = 1000


def noop(number: int) -> None:
    record(number)


class Contestant(base.Contestant):
    """In the smallest project it works in."""

    def __init__(self, store: dict[str, Any]) -> None:
        super().__init__(store)
        import django
        from django.conf import settings

        settings.configure(
            SECRET_KEY="bench",  # not a secret
            USE_TZ=True,
            INSTALLED_APPS=["django_vtasks"],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": store["name"]}},
            TASKS={
                "default": {
                    "BACKEND": "django_vtasks.backends.valkey.ValkeyTaskBackend",
                    "OPTIONS": {"BROKER_URL": store["url"]},
                }
            },
            LOGGING_CONFIG=None,
        )
        django.setup()
        from django_vtasks import task

        # A worker finds the function by its module's name and its own.
        module = types.ModuleType("bench_tasks")
        sys.modules["bench_tasks"] = module
        noop.__module__ = "bench_tasks"
        self._task = module.noop = task(noop)  # type: ignore[attr-defined]

    def clear(self) -> None:
        from django.core.management import call_command

        call_command("clear_queue", "--all-queues", "--force", verbosity=0)

    def one(self, number: int) -> None:
        self._task.enqueue(number)

    def many(self, count: int) -> None:
        from django.tasks import task_backends

        for start in range(0, count, _CHUNK):
            numbers = range(start, min(start + _CHUNK, count))
            task_backends["default"].enqueue_many(
                [(self._task, (number,), {}) for number in numbers]
            )

    def work(self, concurrency: int = 20) -> None:
        from django.core.management import call_command

        call_command("runworker", "--concurrency", str(concurrency))
