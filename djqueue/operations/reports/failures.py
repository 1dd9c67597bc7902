"""Failed jobs in groups: those of one job, with one exception class, at one place of the code."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import Count, Max, Min, Subquery, Value
from django.db.models.functions import Coalesce, Right

from djqueue.databases.now import aware
from djqueue.text import tracebacks

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.models import FailedJob

__all__ = ["AT_MOST", "Group", "Groups", "counted", "groups"]

AT_MOST = 10_000
"""The newest failed jobs that are grouped."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)
_READ = 16 * 1024
"""Characters at the end of a traceback in which its place is looked for."""


class Group(NamedTuple):
    """Failed jobs that look alike."""

    fingerprint: str
    name: str
    exception_class: str
    number: int
    first: datetime
    last: datetime
    place: str
    """``file:function`` of the newest one; empty if its traceback names none, or was not read."""
    newest: int
    """The number of the newest row."""


class Groups(NamedTuple):
    """What `groups` found."""

    groups: list[Group]
    """The largest first."""
    more: int
    """How many other groups there are."""
    capped: bool
    """Whether there are more failed jobs than were grouped."""
    number: int = 0
    """How many were grouped."""


def groups(rows: QuerySet[FailedJob], at_most: int = 10) -> Groups:
    """Group failed jobs, at most the newest `AT_MOST` of `rows`."""
    rows, capped = _newest(rows, AT_MOST)
    found = _counted(rows)
    shown = found[:at_most]
    places = _places(rows, [group.newest for group in shown])
    placed = [group._replace(place=places.get(group.newest, "")) for group in shown]
    number = sum(group.number for group in found)
    return Groups(placed, len(found) - len(shown), capped, number)


def counted(rows: QuerySet[FailedJob], newest: int) -> list[Group]:
    """Return all groups of the `newest` of `rows`, the largest first, without places."""
    oldest = rows.order_by("-failed_at").values("failed_at")[newest : newest + 1]
    # In the same statement: this is asked for with each list.
    return _counted(rows.filter(failed_at__gt=Coalesce(Subquery(oldest), Value(_LONG_AGO))))


def _newest(rows: QuerySet[FailedJob], most: int) -> tuple[QuerySet[FailedJob], bool]:
    """Return at most the newest `most` of `rows`, and whether there are others."""
    oldest = rows.order_by("-failed_at").values_list("failed_at", flat=True)
    bound = oldest[most : most + 1].first()
    return (rows if bound is None else rows.filter(failed_at__gt=bound)), bound is not None


def _counted(rows: QuerySet[FailedJob]) -> list[Group]:
    columns = ("fingerprint", "name", "exception_class")
    found = rows.order_by().values_list(*columns)
    found = found.annotate(
        count=Count("pk"), first=Min("failed_at"), last=Max("failed_at"), newest=Max("pk")
    )
    return list(map(_group, found.order_by("-count", "-newest")))


def _group(row: tuple[Any, ...]) -> Group:
    fingerprint, name, exception_class, number, first, last, newest = row
    moments = (aware(first) or first, aware(last) or last)
    return Group(fingerprint, name, exception_class, number, *moments, "", newest)


def _places(rows: QuerySet[FailedJob], keys: list[int]) -> dict[int, str]:
    ends = rows.filter(pk__in=keys).values_list("pk", Right("exception", _READ))
    return {pk: tracebacks.place(end or "") for pk, end in ends}
