"""django-tasks-db: tasks of Django in a table, by its ORM."""

from __future__ import annotations

import sys
import types
from typing import Any

from benchmarks.contestants import base
from benchmarks.sink import record


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
            INSTALLED_APPS=["django_tasks", "django_tasks_db"],
            DATABASES={"default": self._database()},
            TASKS={"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}},
            LOGGING_CONFIG=None,
        )
        django.setup()
        from django_tasks import task

        # A worker finds the function by its module's name and its own.
        module = types.ModuleType("bench_tasks")
        sys.modules["bench_tasks"] = module
        noop.__module__ = "bench_tasks"
        self._task = module.noop = task()(noop)  # type: ignore[attr-defined]

    def _database(self) -> dict[str, Any]:
        store = self.store
        if store["vendor"] == "sqlite":
            return {"ENGINE": "django.db.backends.sqlite3", "NAME": store["name"]}
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": store["name"],
            "USER": store["user"],
            "HOST": store["host"],
            "PORT": store["port"],
        }

    def prepare(self) -> None:
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA journal_mode=WAL")

    def clear(self) -> None:
        from django_tasks_db.models import DBTaskResult

        DBTaskResult.objects.all().delete()

    def one(self, number: int) -> None:
        self._task.enqueue(number)

    def many(self, count: int) -> None:
        from django.db import transaction

        with transaction.atomic():
            super().many(count)

    def work(self) -> None:
        from django.core.management import call_command

        call_command("db_worker", "--no-startup-delay", "--interval", "0.1")
