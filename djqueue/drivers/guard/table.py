"""The table of guard rows, as its statements share it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from django.db import DatabaseError, connections, transaction

from djqueue.drivers.database.connection import bounded
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
def reported(alias: str, patience: float | None = None) -> Iterator[None]:
    """Errors of the database are `QueueUnavailable`, whose cause is the `DatabaseError`. A worker
    waits for `patience` seconds at most.
    """
    wait: AbstractContextManager[None] = nullcontext()
    if patience is not None and not connections[alias].in_atomic_block:
        wait = bounded(alias, patience)
    try:
        with wait:
            yield
    except DatabaseError as error:
        raise QueueUnavailable(_AWAY.format(alias, error)) from error
    except QueueUnavailable as error:
        if not isinstance(error.__cause__, DatabaseError):
            raise
        raise QueueUnavailable(_AWAY.format(alias, error.__cause__)) from error.__cause__


_AWAY = 'The guard rows in database "{}" could not be read or written: {}'
