"""Parked jobs: those that are in the outbox, since their store has not got them yet."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Count, Min, Q

from djqueue.conf import settings
from djqueue.databases.now import UtcNow, aware

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


def parked() -> list[Parked]:
    """Return the parked jobs of every connection that has any, in all databases."""
    from djqueue.models import Outbox

    found: dict[str, Parked] = {}
    late = Q(due_at__lt=UtcNow() - LATE)
    for alias in settings().databases:
        jobs = Outbox.objects.using(alias).exclude(connection="")  # a batch that is a step has none
        rows = jobs.order_by().values_list("connection")
        counted = rows.annotate(
            later=Count("pk", filter=Q(due_at__isnull=False) & ~late),
            bound=Count("pk", filter=Q(due_at=None)),
            late=Count("pk", filter=late),
            next_due=Min("due_at", filter=~late),
            late_since=Min("due_at", filter=late),
        )
        for row in counted:
            connection, later, bound, late_ones, due, since = row
            one = Parked(connection, later, bound, late_ones, aware(due), aware(since))
            known = found.get(one.connection)
            found[one.connection] = _both(known, one) if known else one
    return [found[name] for name in sorted(found)]


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
