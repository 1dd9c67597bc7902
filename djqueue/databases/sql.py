"""Statements that are put together by hand, and their pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
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


def uuid_encoder(connection: BaseDatabaseWrapper) -> Callable[[str], str]:
    """Return a function that returns a uuid as the database of `connection` stores it. To look
    whether that has a type for them costs a tenth of a push.
    """
    return str if connection.features.has_native_uuid_field else _digits


def _digits(id: str) -> str:
    return id.replace("-", "")
