"""Which queues there are, without reading a table of a million rows for each page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connections

from djqueue.admin.overview.kept import Kept
from djqueue.conf import settings

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 200
"""Names that a filter offers. More are reached by the search (``queue:NAME``)."""

# A walk from name to name along the index: it costs a look-up a queue, however many jobs there are.
_JOBS = """
WITH RECURSIVE names(queue) AS (
    SELECT MIN(queue) FROM jobs
    UNION ALL
    SELECT (SELECT queue FROM jobs WHERE queue > names.queue ORDER BY queue LIMIT 1)
    FROM names WHERE names.queue IS NOT NULL
)
SELECT queue FROM names WHERE queue IS NOT NULL LIMIT %s
"""
_FAILED_CONNECTIONS = """
WITH RECURSIVE names(connection) AS (
    SELECT MIN(connection) FROM failed_jobs
    UNION ALL
    SELECT (SELECT connection FROM failed_jobs WHERE connection > names.connection
            ORDER BY connection LIMIT 1)
    FROM names WHERE names.connection IS NOT NULL
)
SELECT connection FROM names WHERE connection IS NOT NULL LIMIT %s
"""
_NAMES = """
WITH RECURSIVE names(name) AS (
    SELECT MIN({column}) FROM failed_jobs
    UNION ALL
    SELECT (SELECT {column} FROM failed_jobs WHERE {column} > names.name
            ORDER BY {column} LIMIT 1)
    FROM names WHERE names.name IS NOT NULL
)
SELECT name FROM names WHERE name IS NOT NULL LIMIT %s
"""
_FAILED_QUEUES = """
WITH RECURSIVE names(queue) AS (
    SELECT MIN(queue) FROM failed_jobs WHERE connection = %s
    UNION ALL
    SELECT (SELECT queue FROM failed_jobs WHERE connection = %s AND queue > names.queue
            ORDER BY queue LIMIT 1)
    FROM names WHERE names.queue IS NOT NULL
)
SELECT queue FROM names WHERE queue IS NOT NULL LIMIT %s
"""


KEEP_FOR = 10.0
"""Seconds for which a process offers the same names of failed jobs."""
_CONNECTIONS: Kept[list[str]] = Kept()
_QUEUES: Kept[list[str]] = Kept()


def of_jobs(alias: str) -> list[str]:
    """Return the names of the queues in a jobs table, and of those that the settings know there."""
    stores = [c for c in settings().connections.values() if c.jobs_in_sql]
    return _sorted([c.queue for c in stores if c.database == alias], _names(alias, _JOBS))


def of_failed_jobs(alias: str, connections: Iterable[str]) -> list[str]:
    """Return the names of the queues of these connections that have failed jobs."""
    names = tuple(connections)

    def ask() -> list[str]:
        return _sorted(*(_names(alias, _FAILED_QUEUES, name, name) for name in names))

    return _QUEUES.get((alias, names), KEEP_FOR, ask)


def connections_of_failed_jobs(alias: str) -> list[str]:
    """Return the names of the connections that have failed jobs; some may have left the
    settings.
    """
    return _CONNECTIONS.get(alias, KEEP_FOR, lambda: _names(alias, _FAILED_CONNECTIONS))


def names_in(alias: str, column: str, at_most: int) -> list[str]:
    """Return the values of an indexed column of the failed jobs, by a walk along its index."""
    sql = _NAMES.format(column=column)
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, [at_most])
        return [row[0] for row in cursor.fetchall()]


def _names(alias: str, sql: str, *parameters: str) -> list[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, [*parameters, LIMIT])
        return [row[0] for row in cursor.fetchall()]


def _sorted(*names: Iterable[str]) -> list[str]:
    return sorted({name for some in names for name in some})[:LIMIT]
