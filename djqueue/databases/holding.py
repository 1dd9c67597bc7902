"""Rows that a process holds for a while: `taken_by` names their holder, and others leave them alone
until `taken_until`. Each function is one conditional statement.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models import Q

from djqueue.compat import delete_rows
from djqueue.databases.now import UtcNow

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from django.db.models.expressions import CombinedExpression

__all__ = ["delete", "free", "held", "later", "new_holder", "release", "take"]

Row = TypeVar("Row", bound="Model")


def new_holder() -> str:
    """Return a new, unique name for a holder of rows."""
    return uuid.uuid4().hex


def later(seconds: float) -> CombinedExpression:
    """Return the database's time in `seconds` from now."""
    return UtcNow() + timedelta(seconds=seconds)


def free(rows: QuerySet[Row]) -> QuerySet[Row]:
    """Return those of `rows` that no process holds."""
    return rows.filter(Q(taken_until=None) | Q(taken_until__lte=UtcNow()))


def held(rows: QuerySet[Row], by: str) -> QuerySet[Row]:
    """Return those of `rows` that belong to `by`."""
    return rows.filter(taken_by=by)


def take(rows: QuerySet[Any], by: str, seconds: float, **also: Any) -> int:
    """Hold those of `rows` that are free for `by`, and set the columns that `also` names. Return
    their number.
    """
    return free(rows).update(taken_until=later(seconds), taken_by=by, **also)


def release(rows: QuerySet[Any], by: str) -> None:
    """Free those of `rows` that belong to `by`."""
    held(rows, by).update(taken_until=None, taken_by="")


def delete(rows: QuerySet[Any], by: str) -> int:
    """Delete those of `rows` that belong to `by`. Return their number."""
    return delete_rows(held(rows, by))
