"""Failed jobs in groups: those of one job, with one exception class, at one place of the code."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import Count, Max, Min
from django.db.models.functions import Right

from djqueue.databases.now import aware
from djqueue.text import tracebacks

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.models import FailedJob

__all__ = ["AT_MOST", "Group", "Groups", "groups"]

AT_MOST = 10_000
"""The newest failed jobs that are grouped."""
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
    """``file:function`` of the newest one; empty if its traceback names none."""
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


def groups(rows: QuerySet[FailedJob], at_most: int = 10) -> Groups:
    """Group failed jobs, at most the newest `AT_MOST` of `rows`."""
    rows = rows.order_by()
    oldest = rows.order_by("-failed_at").values_list("failed_at", flat=True)
    bound = oldest[AT_MOST : AT_MOST + 1].first()
    if bound is not None:
        rows = rows.filter(failed_at__gt=bound)
    columns = ("fingerprint", "name", "exception_class")
    counted = rows.values_list(*columns).annotate(
        count=Count("pk"), first=Min("failed_at"), last=Max("failed_at"), newest=Max("pk")
    )
    found = list(counted.order_by("-count", "-newest"))
    shown = found[:at_most]
    places = _places(rows, [row[-1] for row in shown])
    described = [_group(row, places.get(row[-1], "")) for row in shown]
    return Groups(described, len(found) - len(shown), bound is not None)


def _group(row: tuple[Any, ...], place: str) -> Group:
    fingerprint, name, exception_class, number, first, last, newest = row
    moments = (aware(first) or first, aware(last) or last)
    return Group(fingerprint, name, exception_class, number, *moments, place, newest)


def _places(rows: QuerySet[FailedJob], keys: list[int]) -> dict[int, str]:
    ends = rows.filter(pk__in=keys).values_list("pk", Right("exception", _READ))
    return {pk: tracebacks.place(end or "") for pk, end in ends}
