"""Several small questions in one statement, and numbers that are counted up to a limit: their cost
does not grow with the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections

from djqueue.databases.sql import rows as rows_of

if TYPE_CHECKING:
    from django.db.models import QuerySet

__all__ = ["Scalar", "answers", "first", "number"]


class Scalar(NamedTuple):
    """An expression in SQL that has one value."""

    sql: str
    params: tuple[Any, ...] = ()


def number(rows: QuerySet[Any], at_most: int) -> Scalar:
    """Return the number of `rows`, of which no more than `at_most` are counted."""
    inner = first(rows.values("pk")[:at_most])
    sql = f"(SELECT COUNT(*) FROM {inner.sql} AS counted)"  # noqa: S608 - made by the ORM
    return Scalar(sql, inner.params)


def first(rows: QuerySet[Any]) -> Scalar:
    """Return a query of one column and at most one row as a value. None stands for no row."""
    sql, params = rows.query.get_compiler(rows.db).as_sql()
    return Scalar(f"({sql})", tuple(params))


def answers(alias: str, asked: Sequence[Scalar]) -> list[Any]:
    """Return the values as the database driver gives them, by one statement."""
    if not asked:
        return []
    sql = f"SELECT {', '.join(each.sql for each in asked)}"
    ((*values,),) = rows_of(connections[alias], sql, [p for each in asked for p in each.params])
    return values
