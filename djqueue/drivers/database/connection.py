"""A worker's own database connection: kept for life, tuned, and put in Django's place.

Jobs run in other processes with Django's ordinary connections. In the worker's parent process the
alias's connection is replaced by one without a pool (a pool has threads, which no fork survives)
and, on SQLite, with immediate transactions and ``synchronous=NORMAL``.
"""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend

BUSY_SECONDS = 1.0
"""How long the parent waits for SQLite's lock before it does something else and comes back."""


def own_connection(alias: str, *, wal: bool = True) -> BaseDatabaseWrapper:
    """Open the worker's connection to `alias` and make it Django's in this thread."""
    _close(connections[alias])
    settings = connections.settings[alias]
    options = {key: value for key, value in settings["OPTIONS"].items() if key != "pool"}
    if settings["ENGINE"].endswith("sqlite3"):
        options["transaction_mode"] = "IMMEDIATE"
        options["timeout"] = min(options.get("timeout", 5.0), BUSY_SECONDS)
        options["init_command"] = _pragmas(
            options.get("init_command", ""), wal and _is_file(settings)
        )
    own = {**settings, "OPTIONS": options, "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False}
    wrapper: BaseDatabaseWrapper = load_backend(settings["ENGINE"]).DatabaseWrapper(own, alias)
    connections[alias] = wrapper
    wrapper.ensure_connection()
    return wrapper


def forget_connections() -> None:
    """In a child: drop every inherited connection without a word on the wire.

    The parent's own wrapper is removed too: the child makes Django's ordinary ones anew.
    """
    for connection in connections.all(initialized_only=True):
        del connections[connection.alias]


def _close(connection: Any) -> None:
    """With its pool, if it has one: in a child, the pool would wait for threads of its parent."""
    connection.close()
    if getattr(connection, "pool", None) is not None:
        connection.close_pool()


def _is_file(settings: dict[str, Any]) -> bool:
    name = str(settings["NAME"])
    return ":memory:" not in name and "mode=memory" not in name


def _pragmas(existing: str, wal: bool) -> str:
    wanted = "PRAGMA synchronous=NORMAL"
    if wal:
        wanted = f"PRAGMA journal_mode=WAL; {wanted}"
    return f"{existing}; {wanted}" if existing else wanted
