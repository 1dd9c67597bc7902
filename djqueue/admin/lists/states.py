"""Rows of the jobs table with the state of each, by the database's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Case, CharField, OuterRef, Subquery, Value, When

from djqueue.databases.now import UtcNow
from djqueue.drivers.base import State
from djqueue.drivers.database.rows import in_state

if TYPE_CHECKING:
    from django.db.models import QuerySet

__all__ = ["with_state"]


def with_state(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return `rows` with the columns that the screens add: ``state`` (the text of a `State`),
    ``now`` (the store's clock), and ``holder``, the name of the worker.
    """
    from djqueue.models import Worker

    worker = Worker.objects.filter(pk=OuterRef("reserved_by")).values("name")[:1]
    state = Case(
        When(in_state(State.STUCK), then=Value(State.STUCK.value)),
        When(reserved_by__isnull=False, then=Value(State.RESERVED.value)),
        When(in_state(State.DELAYED), then=Value(State.DELAYED.value)),
        default=Value(State.WAITING.value),
        output_field=CharField(),
    )
    annotated: QuerySet[Any] = rows.annotate(now=UtcNow(), state=state, holder=Subquery(worker))
    return annotated
