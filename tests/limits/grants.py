"""The times at which a database granted a use or a slot, by its own clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from django.db import connection


class Recorded:
    """Triggers that note each time a slot is taken."""

    def __enter__(self) -> Any:
        with connection.cursor() as cursor:
            for statement in STATEMENTS[connection.vendor]:
                cursor.execute(statement)
        return self.times

    def __exit__(self, *error: object) -> None:
        with connection.cursor() as cursor:
            for statement in DROP[connection.vendor]:
                cursor.execute(statement)

    def times(self) -> list[float]:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {SECONDS_OF[connection.vendor]} FROM grants ORDER BY 1")
            return [float(row[0]) for row in cursor.fetchall()]


_NOTE = "INSERT INTO grants (at) VALUES (NEW.taken_at);"
STATEMENTS = {
    "sqlite": (
        "CREATE TABLE grants (at TEXT)",
        (
            "CREATE TRIGGER used AFTER UPDATE OF taken_at ON djqueue_slots WHEN NEW.place >= 0"
            f" BEGIN {_NOTE} END"
        ),
        f"CREATE TRIGGER made AFTER INSERT ON djqueue_slots WHEN NEW.place >= 0 BEGIN {_NOTE} END",
    ),
    "postgresql": (
        "CREATE TABLE grants (at timestamptz)",
        (
            "CREATE FUNCTION note_grant() RETURNS trigger AS $$ BEGIN IF NEW.place >= 0 THEN"
            f" {_NOTE} END IF; RETURN NEW; END $$ LANGUAGE plpgsql"
        ),
        (
            "CREATE TRIGGER used AFTER INSERT OR UPDATE OF taken_at ON djqueue_slots FOR EACH ROW"
            " EXECUTE FUNCTION note_grant()"
        ),
    ),
    "mysql": (
        "CREATE TABLE grants (at DATETIME(6))",
        (
            "CREATE TRIGGER used AFTER UPDATE ON djqueue_slots FOR EACH ROW"
            f" BEGIN IF NEW.place >= 0 THEN {_NOTE} END IF; END"
        ),
        (
            "CREATE TRIGGER made AFTER INSERT ON djqueue_slots FOR EACH ROW"
            f" BEGIN IF NEW.place >= 0 THEN {_NOTE} END IF; END"
        ),
    ),
}
DROP = {
    "sqlite": ("DROP TRIGGER used", "DROP TRIGGER made", "DROP TABLE grants"),
    "postgresql": (
        "DROP TRIGGER used ON djqueue_slots",
        "DROP FUNCTION note_grant",
        "DROP TABLE grants",
    ),
    "mysql": ("DROP TRIGGER used", "DROP TRIGGER made", "DROP TABLE grants"),
}
SECONDS_OF = {
    "sqlite": "(julianday(at) - 2440587.5) * 86400.0",
    "postgresql": "EXTRACT(EPOCH FROM at)",
    "mysql": "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', at) / 1000000",
}


def most_in_any(times: Sequence[float], length: float) -> int:
    """The largest number of `times` in any half-open window of that length. What a float cannot
    tell from its end is outside.
    """
    return max(bisect_left(times, at + length - 1e-4) - i for i, at in enumerate(times))
