"""Parked jobs: those that are in the outbox, since their store has not got them yet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from django.db import connections

from djqueue.compat import read_time
from djqueue.conf import settings
from djqueue.databases.counting import answers, first, number
from djqueue.databases.now import UtcNow, aware

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.models import Outbox

__all__ = ["LATE", "Parked", "parked"]

LATE = timedelta(minutes=1)
"""A job that is still in the outbox so long after its time is late."""


class Parked(NamedTuple):
    """Jobs of a connection that are in the outbox."""

    connection: str
    later: int
    """Those that are due later than their store can delay them."""
    bound: int
    """Those that wait for their turn: steps of chains, members and callbacks of batches."""
    late: int
    """Those that have been due for a while: no worker has moved them to their store."""
    next_due: datetime | None
    late_since: datetime | None


def parked(at_most: int) -> list[Parked]:
    """Return the parked jobs of every connection that has any, in all databases. No more than
    `at_most` of a kind are counted.
    """
    found: dict[str, Parked] = {}
    for alias in settings().databases:
        for connection in _connections(alias):
            one = _parked(alias, connection, at_most)
            known = found.get(connection)
            found[connection] = _both(known, one) if known else one
    return [found[name] for name in sorted(found)]


def _connections(alias: str) -> Iterator[str]:
    """Return the connections with rows, by jumping along the index. A batch that is a step of a
    chain has none.
    """
    names = _rows(alias).order_by("connection").values_list("connection", flat=True)
    last = names.filter(connection__gt="").first()
    while last is not None:
        yield last
        last = names.filter(connection__gt=last).first()


def _parked(alias: str, connection: str, at_most: int) -> Parked:
    rows, before = _rows(alias).filter(connection=connection), UtcNow() - LATE
    later, late = rows.filter(due_at__gte=before), rows.filter(due_at__lt=before)
    kinds = (later, rows.filter(due_at=None), late)
    times = (each.order_by("connection", "due_at").values("due_at")[:1] for each in (later, late))
    asked = [*(number(each, at_most) for each in kinds), *map(first, times)]
    *numbers, due, since = answers(alias, asked)
    moments = (aware(read_time(connections[alias], each)) for each in (due, since))
    return Parked(connection, *numbers, *moments)


def _rows(alias: str) -> QuerySet[Outbox]:
    from djqueue.models import Outbox

    return Outbox.objects.using(alias).order_by()


def _both(one: Parked, other: Parked) -> Parked:
    due = [each for each in (one.next_due, other.next_due) if each]
    since = [each for each in (one.late_since, other.late_since) if each]
    return Parked(
        one.connection,
        one.later + other.later,
        one.bound + other.bound,
        one.late + other.late,
        min(due, default=None),
        min(since, default=None),
    )
