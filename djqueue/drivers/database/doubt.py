"""Whether a statement that failed may have been carried out all the same."""

from __future__ import annotations

from django.db import DatabaseError

GOING = ("08", "57P")
"""SQLSTATE of PostgreSQL: connection exceptions, and a server that shuts down."""
SHUTDOWN = 1053
"""MySQL: the server shuts down, and says so in place of an answer."""
MYSQL_ANSWERS = (range(1000, 2000), range(3000, 6000))
"""Error numbers of MySQL's server; those of 2000 and above are the client's own."""


def in_doubt(error: DatabaseError) -> bool:
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
