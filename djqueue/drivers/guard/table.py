"""The table of guard rows, as its statements share it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import DatabaseError, connections, transaction

from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.models import Run

AT_ONCE = 200
"""Rows in one statement. SQLite takes 999 parameters."""


def rows_in(alias: str) -> QuerySet[Run]:
    """The rows in the database `alias`."""
    from djqueue.models import Run

    return Run.objects.using(alias)


def slices(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """`ids`, as many at a time as one statement takes."""
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]


@contextmanager
def locked(alias: str, ids: Iterable[str]) -> Iterator[set[str]]:
    """Those of `ids` whose rows nobody else has locked; nothing waits for a row here.

    SQLite has no locks of rows, and each statement compares before it writes anyway. Its
    transaction must not begin with a read: it could not write after somebody else has.
    """
    with transaction.atomic(using=alias):
        if not connections[alias].features.has_select_for_update_skip_locked:
            yield set(ids)
            return
        rows = rows_in(alias).filter(uuid__in=list(ids)).select_for_update(skip_locked=True)
        yield {str(id) for id in rows.values_list("uuid", flat=True)}


@contextmanager
def reported(alias: str) -> Iterator[None]:
    """Errors of the database are `QueueUnavailable`, whose cause is the `DatabaseError`."""
    try:
        yield
    except DatabaseError as error:
        raise QueueUnavailable(
            f'The guard rows in database "{alias}" could not be read or written: {error}'
        ) from error
