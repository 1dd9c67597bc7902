"""Checks of database routers: they send djqueue's models to the databases of the setting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core import checks
from django.db import router

from djqueue.checks.databases import known_aliases
from djqueue.routers import home

if TYPE_CHECKING:
    from collections.abc import Iterator

HINT = 'Put "djqueue.routers.QueueRouter" first in DATABASE_ROUTERS.'


def check_routing(**_: Any) -> list[checks.CheckMessage]:
    """Check where migrations, and queries without ``using()``, go."""
    return [*_queries(), *_migrations()]


def _queries() -> Iterator[checks.CheckMessage]:
    aliases = known_aliases()
    for model in apps.get_app_config("djqueue").get_models():
        wanted = home(model._meta.model_name or "")
        actual = router.db_for_write(model)
        if actual != wanted and wanted in aliases:
            yield checks.Warning(
                f'DJQUEUE keeps {model.__name__} rows in database "{wanted}", but the project\'s '
                f'database routers send queries for them to "{actual}": the admin would not show '
                "the rows that the workers use.",
                hint=HINT,
                id="djqueue.W014",
            )
            return


def _migrations() -> Iterator[checks.CheckMessage]:
    models = list(apps.get_app_config("djqueue").get_models())
    for alias in known_aliases():
        if not all(router.allow_migrate_model(alias, model) for model in models):
            yield checks.Warning(
                f'DJQUEUE names database "{alias}", but a database router does not let djqueue\'s '
                "tables be migrated to it.",
                hint=f"{HINT} Then run: python manage.py migrate djqueue --database {alias}",
                id="djqueue.W015",
            )
