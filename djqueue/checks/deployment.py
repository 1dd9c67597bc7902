"""What is fine on a developer's machine and not in production (``check --deploy``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core import checks
from django.db import connections

from djqueue.checks.databases import known_aliases
from djqueue.conf import settings
from djqueue.drivers import driver_class
from djqueue.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

SQLITE_OPTIONS = (
    '"OPTIONS": {"transaction_mode": "IMMEDIATE", '
    '"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"}'
)


def check_deployment(**_: Any) -> list[checks.CheckMessage]:
    """The default connection runs or discards jobs on the spot; SQLite waits needlessly."""
    return [*_default(), *_sqlite()]


def _default() -> Iterator[checks.CheckMessage]:
    ours = settings()
    try:
        capabilities = driver_class(ours.connections[ours.default]).capabilities
    except (KeyError, ConfigurationError):
        return  # another check says so
    hint = 'Name a connection that keeps jobs as DJQUEUE["DEFAULT"], for example "database".'
    if capabilities.inline:
        yield checks.Warning(
            f'The default connection "{ours.default}" runs jobs in the processes of the requests '
            "that dispatch them: no retries, no delays.",
            hint=hint,
            id="djqueue.W001",
        )
    if capabilities.discards:
        yield checks.Warning(
            f'The default connection "{ours.default}" throws every job away.',
            hint=hint,
            id="djqueue.W002",
        )


def _sqlite() -> Iterator[checks.CheckMessage]:
    for alias in known_aliases():
        yield from sqlite_waits(alias)


def sqlite_waits(alias: str) -> Iterator[checks.CheckMessage]:
    """A warning if a database is SQLite whose requests and workers get in each other's way."""
    if connections[alias].vendor != "sqlite":
        return
    options = connections.settings[alias].get("OPTIONS", {})
    immediate = str(options.get("transaction_mode", "")).upper() in {"IMMEDIATE", "EXCLUSIVE"}
    if not immediate or "journal_mode" not in str(options.get("init_command", "")).lower():
        yield checks.Warning(
            f'Database "{alias}" is SQLite on its default options: a request that writes '
            'while a worker does may fail with "database is locked".',
            hint=f'Add to DATABASES["{alias}"]: {SQLITE_OPTIONS}',
            id="djqueue.W003",
        )
