"""Checks for production (``check --deploy``): settings that suit only a developer's machine."""

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
    """Warn of a default connection that keeps no jobs, and of SQLite on its default options."""
    return [*_default(), *_sqlite()]


def _default() -> Iterator[checks.CheckMessage]:
    ours = settings()
    try:
        capabilities = driver_class(ours.connections[ours.default]).capabilities
    except (KeyError, ConfigurationError):
        return  # another check reports it
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
            f'The default connection "{ours.default}" discards every job.',
            hint=hint,
            id="djqueue.W002",
        )


def _sqlite() -> Iterator[checks.CheckMessage]:
    for alias in known_aliases():
        yield from sqlite_waits(alias)


def sqlite_waits(alias: str) -> Iterator[checks.CheckMessage]:
    """Warn of a SQLite database whose options make requests and workers lock each other out."""
    if connections[alias].vendor != "sqlite":
        return
    options = connections.settings[alias].get("OPTIONS", {})
    immediate = str(options.get("transaction_mode", "")).upper() in {"IMMEDIATE", "EXCLUSIVE"}
    if not immediate or "journal_mode" not in str(options.get("init_command", "")).lower():
        yield checks.Warning(
            f'Database "{alias}" is SQLite with default options: a request that writes while a '
            'worker writes may fail with "database is locked".',
            hint=f'Add to DATABASES["{alias}"]: {SQLITE_OPTIONS}',
            id="djqueue.W003",
        )
