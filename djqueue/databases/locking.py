"""Rows that other transactions have locked: they are passed over, where a database can do that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

from djqueue.compat import delete_rows

if TYPE_CHECKING:
    from django.db.models import QuerySet

__all__ = ["delete_unlocked", "passes_over", "unlocked"]


def passes_over(alias: str) -> bool:
    """Return whether a database locks rows, and can pass over those that are locked."""
    return connections[alias].features.has_select_for_update_skip_locked


def unlocked(rows: QuerySet[Any]) -> list[Any]:
    """Lock those of `rows` that no other transaction has locked, as a part of the open transaction.
    Return their keys.
    """
    return list(
        rows.order_by("pk").select_for_update(skip_locked=True).values_list("pk", flat=True)
    )


def delete_unlocked(rows: QuerySet[Any]) -> int:
    """Delete those of `rows` that no other transaction has locked. Return their number."""
    alias = rows.db
    if not passes_over(alias):
        return delete_rows(rows)
    with transaction.atomic(using=alias):
        return delete_rows(rows.filter(pk__in=unlocked(rows)))
