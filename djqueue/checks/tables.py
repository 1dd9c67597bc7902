"""Checks of servers: they are recent enough and have djqueue's tables. Connects to them.

Runs with ``migrate`` and with ``check --database``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core import checks
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from djqueue.checks.databases import VENDORS, known_aliases, too_old

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.mysql.base import DatabaseWrapper as MySQLWrapper

MARIADB = (10, 6)
MYSQL = (8, 0, 1)


def check_tables(*, databases: Sequence[str] | None = None, **_: Any) -> list[checks.CheckMessage]:
    """Check those of `databases` that the setting names."""
    found: list[checks.CheckMessage] = []
    for alias in known_aliases():
        connection = connections[alias]
        if alias in (databases or ()) and connection.vendor in VENDORS:
            found += _server(connection)
            found += _tables(connection)
    return found


def _server(connection: BaseDatabaseWrapper) -> Iterator[checks.CheckMessage]:
    if connection.vendor != "mysql":
        return
    server: MySQLWrapper = connection  # type: ignore[assignment]
    version = ".".join(str(part) for part in server.mysql_version)
    if server.mysql_is_mariadb and server.mysql_version < MARIADB:
        yield too_old(connection.alias, "MariaDB", version, "10.6")
    elif not server.mysql_is_mariadb and server.mysql_version < MYSQL:
        yield too_old(connection.alias, "MySQL", version, "8.0.1")


def _tables(connection: BaseDatabaseWrapper) -> Iterator[checks.CheckMessage]:
    applied = {app for app, _ in MigrationRecorder(connection).applied_migrations()}
    lacking = _lacking(connection)
    missing = sorted(table for table, columns in lacking.items() if columns is None)
    foreign = sorted(table for table, columns in lacking.items() if columns)
    if "djqueue" not in applied and foreign:
        yield _foreign(connection.alias, foreign[0], sorted(lacking[foreign[0]] or ()))
    elif applied and (missing or foreign):
        # A database without any migration is new: `migrate` will run anyway.
        yield _pending(connection.alias, missing, foreign)


def _lacking(connection: BaseDatabaseWrapper) -> dict[str, set[str] | None]:
    """Return the columns that each of djqueue's tables lacks; None for a missing table."""
    lacking: dict[str, set[str] | None] = {}
    with connection.cursor() as cursor:
        there = set(connection.introspection.table_names(cursor))
        for model in apps.get_app_config("djqueue").get_models():
            table = model._meta.db_table
            if table not in there:
                lacking[table] = None
                continue
            columns = {
                column.name
                for column in connection.introspection.get_table_description(cursor, table)
            }
            wanted = {str(field.column) for field in model._meta.concrete_fields}
            lacking[table] = wanted - columns
    return lacking


def _foreign(alias: str, table: str, columns: list[str]) -> checks.CheckMessage:
    return checks.Error(
        f'Database "{alias}" has a table "{table}" that is not djqueue\'s: it lacks the columns '
        f"{', '.join(columns)}. Another program, such as Laravel, may keep its queue there.",
        hint="Give djqueue a separate database: an alias in DATABASES, named as DATABASE of the "
        'connection and of "FAILED_JOBS", "BATCHES" and "RESULTS", and '
        '"djqueue.routers.QueueRouter" in DATABASE_ROUTERS. Or rename the other table.',
        id="djqueue.E017",
    )


def _pending(alias: str, missing: list[str], incomplete: list[str]) -> checks.CheckMessage:
    what = f"the tables {', '.join(missing)}" if missing else f"columns of {', '.join(incomplete)}"
    return checks.Warning(
        f'Database "{alias}" lacks {what}: djqueue\'s migrations have not all run there.',
        hint=f"Run: python manage.py migrate djqueue --database {alias}",
        id="djqueue.W016",
    )
