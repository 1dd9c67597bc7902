"""Checks of databases: they are of a kind that can hold a queue. Opens no connection."""

from __future__ import annotations

import enum
import sqlite3
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core import checks
from django.db import connections

from djqueue.conf import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

VENDORS = ("postgresql", "mysql", "sqlite")
SQLITE_RETURNING = (3, 35)
"""The first SQLite with ``UPDATE … RETURNING``."""


def check_databases(**_: Any) -> list[checks.CheckMessage]:
    """Check vendor, time zone support and isolation level of all aliases with djqueue's tables."""
    vendors = {alias: connections[alias].vendor for alias in known_aliases()}
    found: list[checks.CheckMessage] = []
    for alias, vendor in vendors.items():
        found += _vendor(alias, vendor)
        found += _isolation(alias, vendor)
    found += _time_zone(vendors)
    return found


def known_aliases() -> list[str]:
    """Return the aliases that djqueue uses and that are in ``DATABASES``."""
    return [alias for alias in settings().databases if alias in connections.settings]


def _vendor(alias: str, vendor: str) -> Iterator[checks.CheckMessage]:
    if vendor not in VENDORS:
        yield checks.Error(
            f'djqueue cannot keep its tables in database "{alias}" ({vendor}).',
            hint="Add an alias on PostgreSQL, MySQL, MariaDB or SQLite to DATABASES, and name it "
            'as DATABASE of the connection and of "FAILED_JOBS", "BATCHES" and "RESULTS".',
            id="djqueue.E014",
        )
    elif vendor == "sqlite" and sqlite3.sqlite_version_info < SQLITE_RETURNING:
        yield too_old(alias, "SQLite", sqlite3.sqlite_version, "3.35")


def too_old(alias: str, product: str, version: str, needed: str) -> checks.CheckMessage:
    """Return the error for a server that is too old for djqueue's statements."""
    return checks.Error(
        f'Database "{alias}" runs {product} {version}; djqueue needs {product} {needed} or later.',
        hint="Update it, or keep the jobs elsewhere: an alias of another server, or a connection "
        "with the redis, sqs or beanstalkd driver.",
        id="djqueue.E015",
    )


def _time_zone(vendors: dict[str, str]) -> Iterator[checks.CheckMessage]:
    if django_settings.USE_TZ:
        return
    wrong = [alias for alias, vendor in vendors.items() if vendor != "postgresql"]
    if wrong:
        yield checks.Error(
            f'USE_TZ is False, and database "{wrong[0]}" stores times without a zone: djqueue\'s '
            "times, which are UTC, would be read as local times.",
            hint="Set USE_TZ = True, or keep djqueue's tables on PostgreSQL.",
            id="djqueue.E011",
        )
    elif vendors:
        yield checks.Warning(
            "USE_TZ is False: times of jobs are shown in the server's time zone, and are ambiguous "
            "for an hour when clocks are set back.",
            hint="Set USE_TZ = True.",
            id="djqueue.W011",
        )


def _isolation(alias: str, vendor: str) -> Iterator[checks.CheckMessage]:
    level = connections.settings[alias].get("OPTIONS", {}).get("isolation_level")
    name = _level_name(level)
    strict = {"postgresql": ("REPEATABLE READ", "SERIALIZABLE"), "mysql": ("SERIALIZABLE",)}
    if name in strict.get(vendor, ()):
        yield checks.Warning(
            f'Database "{alias}" is configured with isolation level {name}: workers will conflict '
            "with each other, and the commit of an atomic job may be refused, so it runs again.",
            hint="Leave isolation_level out for the alias that holds the jobs. Code that needs "
            "more than READ COMMITTED can set it for its own transactions.",
            id="djqueue.W013",
        )


POSTGRESQL_LEVELS = {3: "REPEATABLE READ", 4: "SERIALIZABLE"}


def _level_name(level: object) -> str:
    """Return the name of an isolation level: an enum or number on PostgreSQL, a text on MySQL."""
    if isinstance(level, enum.Enum):
        return level.name.replace("_", " ")
    if isinstance(level, int):
        return POSTGRESQL_LEVELS.get(level, "")
    return str(level or "").upper()
