"""What must not leak from one job into the next."""

from __future__ import annotations

import logging

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("djqueue")


def connections_after(job: str) -> bool:
    """Leave every database connection as the next job expects it.

    A transaction that the job left open is rolled back and reported; a connection that is broken
    or too old is closed. Language, time zone and context variables need no care: each job runs
    in a context of its own.

    Whether a connection is open now.
    """
    open_ones = False
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        if connection.in_atomic_block or not connection.get_autocommit():
            if _wanted_by_settings(connection):
                open_ones = True
                continue
            logger.warning(
                'Job %s left a transaction open on database "%s"; it was rolled back. End it in'
                " the job, or use transaction.atomic().",
                job,
                connection.alias,
            )
            _discard(connection)
        else:
            connection.close_if_unusable_or_obsolete()
        if connection.queries_logged:
            connection.queries_log.clear()
        open_ones = open_ones or connection.connection is not None
    return open_ones


def _wanted_by_settings(connection: BaseDatabaseWrapper) -> bool:
    """AUTOCOMMIT False is the project's own choice, and nothing is open."""
    return not connection.settings_dict["AUTOCOMMIT"] and not connection.in_atomic_block


def _discard(connection: BaseDatabaseWrapper) -> None:
    """Closing rolls back. Inside an atomic block Django closes only after its own bookkeeping."""
    connection.in_atomic_block = False
    connection.savepoint_ids = []
    connection.atomic_blocks = []
    connection.needs_rollback = False
    connection.run_on_commit = []
    connection.closed_in_transaction = False
    connection.close()
