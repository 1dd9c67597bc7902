"""What must not leak from one job into the next by its database connections."""

from __future__ import annotations

import logging

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from djqueue.compat import forget_transaction
from djqueue.runner.cleanup.session import Left, left_on

logger = logging.getLogger("djqueue")


def connections_after(job: str) -> bool:
    """Leave every database connection as the next job expects it.

    A transaction that the job left open is rolled back and reported, whether Django knows of it
    or not; a connection that is broken or too old is closed. Language, time zone and context
    variables need no care: each job runs in a context of its own.

    Return whether a connection is open now.
    """
    open_ones = False
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        if connection.in_atomic_block or not connection.get_autocommit():
            if _wanted_by_settings(connection):
                open_ones = True
                continue
            _report(connection, job)
            _discard(connection)
        else:
            connection.close_if_unusable_or_obsolete()
            if connection.connection is not None:
                _look_at_session(connection, job)
        if connection.queries_logged:
            connection.queries_log.clear()
        open_ones = open_ones or connection.connection is not None
    return open_ones


def close_what_is_old() -> None:
    """Close connections that have become too old while nothing ran, as Django does before each
    request: their server may have closed them too.
    """
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()


def _look_at_session(connection: BaseDatabaseWrapper, job: str) -> None:
    """Look at the database session. Django knows only of what went through it: the session may be
    in a transaction that raw SQL began, or in the middle of a statement that was interrupted.
    """
    left = left_on(connection)
    if left is Left.OPEN:
        _report(connection, job)
    if left is not Left.NOTHING:
        _discard(connection)


def _report(connection: BaseDatabaseWrapper, job: str) -> None:
    logger.warning(
        'Job %s left a transaction open on database "%s"; it was rolled back. End it in the job, or'
        " use transaction.atomic().",
        job,
        connection.alias,
    )


def _wanted_by_settings(connection: BaseDatabaseWrapper) -> bool:
    """Return whether AUTOCOMMIT False is the project's own choice, and nothing is open."""
    return not connection.settings_dict["AUTOCOMMIT"] and not connection.in_atomic_block


def _discard(connection: BaseDatabaseWrapper) -> None:
    """Close the connection, which rolls back."""
    forget_transaction(connection)
    connection.close()
