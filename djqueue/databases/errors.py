"""Whether a statement that failed may have been carried out all the same."""

from __future__ import annotations

from django.db import DatabaseError, DataError, IntegrityError

from djqueue.errors import QueueUnavailable

GOING = ("08", "57P")
"""SQLSTATE of PostgreSQL: connection exceptions, and a server that shuts down."""
SHUTDOWN = 1053
"""MySQL: the server shuts down, and says so in place of an answer."""
MYSQL_ANSWERS = (range(1000, 2000), range(3000, 6000))
"""Error numbers of MySQL's server; those of 2000 and above are the client's own."""


def may_have_committed(error: DatabaseError) -> bool:
    """True where the connection broke off, so that the answer is not known; False where the
    database answered that it did not do it.
    """
    cause = error.__cause__
    if type(cause).__module__ == "sqlite3":
        return False  # no connection that could break
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    if state is not None:
        return str(state).startswith(GOING)
    number = error.args[0] if error.args else None
    if not isinstance(number, int) or number == SHUTDOWN:
        return True
    return not any(number in answers for answers in MYSQL_ANSWERS)


REFUSED = ("22", "23", "54")
"""SQLSTATE of PostgreSQL: data exceptions, broken constraints, and what is too large."""
MYSQL_TOO_LARGE = 1153
MYSQL_REFUSES = frozenset({1118, MYSQL_TOO_LARGE, 1264, 1267, 1292, 1366, 1406, 1441, 3988, 4025})
"""MySQL: too large for a row or a packet; out of range; cannot be compared with, or written in, the
column's character set; too long; a broken check."""


def is_refusal(error: Exception) -> bool:
    """True where the database will not take what was sent, because of what it is, however often it
    is tried; False where it cannot be reached, does not answer, or cannot do it now. A driver's
    `QueueUnavailable` means what its cause does.
    """
    if isinstance(error, QueueUnavailable) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, DataError | IntegrityError | UnicodeError | OverflowError | ValueError):
        return True
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    if state is not None:
        return str(state).startswith(REFUSED)
    number = error.args[0] if error.args else None
    return isinstance(number, int) and number in MYSQL_REFUSES


def is_too_large(error: DatabaseError) -> bool:
    """True where MySQL says that a statement is larger than its ``max_allowed_packet``."""
    return error.args[:1] == (MYSQL_TOO_LARGE,)


def is_locked(error: Exception) -> bool:
    """SQLite's one lock for all writers is held by another connection."""
    cause = error.__cause__
    return type(cause).__module__ == "sqlite3" and str(cause).startswith("database is locked")
