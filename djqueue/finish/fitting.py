"""Text that a database can take in one statement, and what to do where it refuses some.

MySQL and MariaDB refuse, and hang up on, a statement larger than ``max_allowed_packet``. A payload
that just fitted into the jobs does not fit beside the reason why it failed.
"""

from __future__ import annotations

from django.db import NotSupportedError, ProgrammingError, connections

from djqueue.drivers.database.errors import is_refusal
from djqueue.runner.outcome import ErrorReport

SMALL = 1 << 20
"""Characters that always fit: four bytes each, and the smallest limit that anybody sets is 4 MB."""
ROOM = 512 * 1024
"""Bytes for the rest of the row."""
_MYSQL_FULL = (1114,)


def fitting(text: str, alias: str) -> str:
    """`text`, or its beginning and a note where the database takes no more."""
    if len(text) < SMALL or connections[alias].vendor != "mysql":
        return text
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        most = max(int(cursor.fetchone()[0]) - ROOM, SMALL)
    if _size(text) <= most:
        return text
    kept = text[: most // 8]  # each character may take four bytes, and a backslash each
    left_out = len(text) - len(kept)
    return (
        f"{kept}… {left_out} characters left out: max_allowed_packet of the database is too small"
    )


def _size(text: str) -> int:
    """Bytes in a statement: some characters get a backslash there."""
    data = text.encode("utf-8", "backslashreplace")
    return len(data) + sum(data.count(character) for character in b"\0\n\r\x1a\"'\\")


def refuses(error: Exception) -> bool:
    """Whether the table of the failed jobs does not take a row, as opposed to a database that
    cannot be reached: for its content, or because it is not there, not ours to write, or full.
    """
    if isinstance(error, ProgrammingError | NotSupportedError):
        return True
    return is_refusal(error) or (bool(error.args) and error.args[0] in _MYSQL_FULL)


def shortened(error: ErrorReport) -> ErrorReport:
    """What is kept of an error that no database takes."""
    text = f"The database refused this error, of {len(error.message)} characters."
    return ErrorReport(error.class_name[:100], text, text, error.place[:100])
