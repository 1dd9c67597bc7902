"""Statements that are put together by hand, and their pieces."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


def run(connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any] = ()) -> int:
    """Run a statement on Django's cursor. Return the number of rows that it changed."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return int(cursor.rowcount)


def rows(
    connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any] = ()
) -> list[tuple[Any, ...]]:
    """Run a statement on Django's cursor. Return the rows of its answer."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def marks(values: Sized) -> str:
    """Return the placeholders of `values`, for ``IN (…)``."""
    return ", ".join(["%s"] * len(values))


def encode_uuid(connection: BaseDatabaseWrapper, id: str) -> str:
    """Return a uuid as the database of `connection` stores it."""
    return id if connection.features.has_native_uuid_field else id.replace("-", "")
