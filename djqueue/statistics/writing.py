"""Adding counts to `djqueue_minutes`: one statement for the minute, the hour and the total."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.db import connections, transaction

from djqueue.databases.sql import run
from djqueue.drivers.slices import slices
from djqueue.statistics.histogram import COUNTS

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from djqueue.statistics.tally import Counts

__all__ = ["EVER", "HOUR", "MINUTE", "SPANS", "write"]

MINUTE, HOUR, EVER = SPANS = (60, 3600, 0)
SLICE = 80
"""Jobs in a statement: with three rows each, fewer parameters than SQLite has ever refused."""
_KEYS = ("span", "at", "connection", "queue", "name")
_COLUMNS = ", ".join((*_KEYS, *COUNTS))


def write(alias: str, connection: str, counts: Sequence[Counts], now: float) -> None:
    """Add `counts` of a queue connection at `now` (seconds since the epoch). Not to be repeated
    where it is unknown whether it was carried out.
    """
    database = connections[alias]
    with transaction.atomic(using=alias):
        for some in slices(counts, SLICE):
            values: list[str] = []
            params: list[str] = []
            for span in SPANS:
                at = int(now) // span * span if span else 0
                for queue, name, numbers in some:
                    values.append(f"({span}, {at}, %s, %s, %s, {', '.join(map(str, numbers))})")
                    params += (connection, queue, name)
            run(database, _statement(database, ", ".join(values)), params)


def _statement(database: BaseDatabaseWrapper, values: str) -> str:
    into = f"INSERT INTO djqueue_minutes ({_COLUMNS}) VALUES {values}"
    if database.vendor == "mysql":
        by_name = not getattr(database, "mysql_is_mariadb", False)  # MySQL deprecates VALUES()
        added = (f"new.{each}" if by_name else f"VALUES({each})" for each in COUNTS)
        alias = " AS new" if by_name else ""
        start = f"{into}{alias} ON DUPLICATE KEY UPDATE "
    else:
        added = (f"excluded.{each}" for each in COUNTS)
        start = f"{into} ON CONFLICT ({', '.join(_KEYS)}) DO UPDATE SET "
    return start + ", ".join(
        f"{each} = djqueue_minutes.{each} + {more}"
        for each, more in zip(COUNTS, added, strict=True)
    )
