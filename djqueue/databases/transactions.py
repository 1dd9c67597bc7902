"""Whether a connection is in a transaction of the project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connections

from djqueue.compat import is_of_testcase

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


def in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Return whether `connection` is open in a transaction, by ``atomic()`` or by hand. Those that
    `TestCase` wraps around a test do not count, since they never commit.
    """
    if connection.in_atomic_block:
        return not all(map(is_of_testcase, connection.atomic_blocks))
    return connection.connection is not None and not connection.autocommit


def open_connections() -> list[BaseDatabaseWrapper]:
    """Return the connections of this thread that are in a transaction."""
    return list(filter(in_transaction, connections.all(initialized_only=True)))


def open_aliases() -> list[str]:
    """Return the database aliases in a transaction. Those of `TestCase` do not count."""
    return [connection.alias for connection in open_connections()]
