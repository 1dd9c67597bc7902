"""Text that a database can take in one statement.

MySQL and MariaDB refuse, and hang up on, a statement larger than ``max_allowed_packet``. A payload
that just fitted into the jobs does not fit beside the reason why it failed.
"""

from __future__ import annotations

from django.db import connections

SMALL = 1 << 20
"""Characters that always fit: four bytes each, and the smallest limit in use is 4 MB."""
ROOM = 512 * 1024
"""Bytes for the rest of the row."""


def fitting(text: str, alias: str) -> str:
    """Return `text`, or its beginning and a note if the database takes no more."""
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
    """Return the bytes of a text in a statement, where some characters get a backslash."""
    data = text.encode("utf-8", "backslashreplace")
    return len(data) + sum(data.count(character) for character in b"\0\n\r\x1a\"'\\")
