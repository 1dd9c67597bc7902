"""The rows of failed jobs, as they are written: each only over one of an earlier reservation.

Written by hand: the ORM's `bulk_create` knows no condition for the rows that are there already.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from django.db import connections

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from djqueue.models import FailedJob

__all__ = ["ascii_only", "storable", "write"]

MOST_ROWS = 50
"""Rows in a statement: SQLite may take 999 parameters."""
MOST_CHARACTERS = 1 << 20
"""Characters in a statement of several rows: four bytes each fit in the smallest packet that
MySQL can be set to."""

_NOT_ASCII = re.compile(r"[^\x01-\x7f]")


def storable(text: str) -> str:
    """Return `text` as every database with UTF-8 takes it: what is no character is spelled out."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def ascii_only(text: str) -> str:
    """Return `text` as a database of any encoding takes it. JSON keeps its meaning."""
    return _NOT_ASCII.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character <= "\uffff":
        return f"\\u{ord(character):04x}"
    pair = character.encode("utf-16-be")
    return f"\\u{pair[:2].hex()}\\u{pair[2:].hex()}"


def write(alias: str, rows: Sequence[FailedJob]) -> None:
    """Insert `rows`. Each replaces a row with the same uuid whose number is not larger."""
    # One row a job: no database takes two for one place in one statement.
    latest: dict[Any, FailedJob] = {}
    for row in rows:
        there = latest.get(row.uuid)
        if there is None or there.reservation <= row.reservation:
            latest[row.uuid] = row
    for some in _slices(list(latest.values())):
        _write(connections[alias], some)


def _slices(rows: Sequence[FailedJob]) -> Iterator[Sequence[FailedJob]]:
    start = length = 0
    for at, row in enumerate(rows):
        size = len(row.payload) + len(row.exception) + len(row.history)
        if at - start >= MOST_ROWS or (at > start and length + size > MOST_CHARACTERS):
            yield rows[start:at]
            start, length = at, 0
        length += size
    if rows:
        yield rows[start:]


def _write(connection: BaseDatabaseWrapper, rows: Sequence[FailedJob]) -> None:
    meta = rows[0]._meta
    quote = connection.ops.quote_name
    fields = [field for field in meta.concrete_fields if not field.primary_key]
    table, names = quote(meta.db_table), [quote(str(field.column)) for field in fields]
    row = f"({', '.join(['%s'] * len(fields))})"
    sql = (
        f"INSERT INTO {table} ({', '.join(names)}) VALUES {', '.join([row] * len(rows))}"
        f" {_instead(connection, table, names)}"
    )
    values = [
        field.get_db_prep_save(getattr(each, field.attname), connection)
        for each in rows
        for field in fields
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def _instead(connection: BaseDatabaseWrapper, table: str, names: Sequence[str]) -> str:
    """Return the update of a row that exists: it takes all values if its number is not larger."""
    quote = connection.ops.quote_name
    uuid, number = quote("uuid"), quote("reservation")
    others = [name for name in names if name not in (uuid, number)]
    if connection.vendor != "mysql":
        given = ", ".join(f"{name} = EXCLUDED.{name}" for name in (*others, number))
        condition = f"{table}.{number} <= EXCLUDED.{number}"
        return f"ON CONFLICT ({uuid}) DO UPDATE SET {given} WHERE {condition}"
    # From left to right, and a name is its new value once it is assigned: the number comes last.
    alias, new = _new_row(connection)
    replaces = f"{table}.{number} <= {new(number)}"
    given = ", ".join(
        f"{name} = IF({replaces}, {new(name)}, {table}.{name})" for name in (*others, number)
    )
    return f"{alias}ON DUPLICATE KEY UPDATE {given}"


def _new_row(connection: Any) -> tuple[str, Any]:
    """Return the name that a statement gives to the row that it could not insert."""
    if connection.mysql_is_mariadb or connection.mysql_version < (8, 0, 19):
        return "", lambda name: f"VALUES({name})"
    return "AS djqueue_new ", lambda name: f"djqueue_new.{name}"
