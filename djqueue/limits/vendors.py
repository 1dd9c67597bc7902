"""How each database says the statements about slots. They differ in how they tell time, and in how
one row of several is chosen for an update.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Words", "words_of"]


class Words(NamedTuple):
    """The words of one vendor. `{}` stands for a column or a time, ``%s`` for seconds."""

    now: str
    """The clock at this moment of the statement."""
    plus: str
    """A time, later by a parameter in seconds."""
    since: str
    """Seconds from the one time to the other."""
    ignore: tuple[str, str]
    """What is around an INSERT that changes nothing where the row is there already."""
    one: str
    """The end of an UPDATE of one row, the first by `{order}`, of those that `{where}` says."""


_CHOSEN = "WHERE id = (SELECT id FROM djqueue_slots WHERE {{where}} ORDER BY {{order}} LIMIT 1{})"

_WORDS = {
    "postgresql": Words(
        # Not the beginning of the statement, which may have waited.
        now="clock_timestamp()",
        plus="{} + make_interval(secs => %s)",
        since="EXTRACT(EPOCH FROM {1} - {0})",
        ignore=("INSERT INTO", "ON CONFLICT (name, place) DO NOTHING"),
        one=_CHOSEN.format(" FOR UPDATE SKIP LOCKED"),
    ),
    "mysql": Words(
        now="UTC_TIMESTAMP(6)",
        plus="{} + INTERVAL %s SECOND",
        since="TIMESTAMPDIFF(MICROSECOND, {0}, {1}) / 1000000",
        ignore=("INSERT IGNORE INTO", ""),
        one="WHERE {where} ORDER BY {order} LIMIT 1",
    ),
    "sqlite": Words(
        now="strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')",
        plus="strftime('%%Y-%%m-%%d %%H:%%M:%%f', {}, printf('%%+.6f seconds', %s))",
        since="(julianday({1}) - julianday({0})) * 86400.0",
        ignore=("INSERT INTO", "ON CONFLICT (name, place) DO NOTHING"),
        one=_CHOSEN.format(""),
    ),
}


def words_of(vendor: str) -> Words:
    """The words of a vendor, as Django calls it."""
    return _WORDS[vendor]
