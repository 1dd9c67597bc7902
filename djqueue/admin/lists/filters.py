"""The filters beside the lists. None of them reads the whole table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.admin import SimpleListFilter
from django.utils.translation import gettext_lazy as _

from djqueue.admin.lists import queue_names
from djqueue.drivers.base import State
from djqueue.drivers.database.stored import in_state
from djqueue.drivers.now import UtcNow
from djqueue.operations.words import STATES
from djqueue.text import printable as text

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList
    from django.db.models import QuerySet
    from django.http import HttpRequest

DATABASE = "database"
"""The parameter that names a database alias, where the jobs of several are shown."""

LONGEST = 255
"""Characters of a queue's or a connection's name."""

Choices = list[tuple[Any, str]]


def _named(queryset: QuerySet[Any], column: str, value: str | None) -> QuerySet[Any]:
    """The rows with that name; none for what no row can have, and some databases refuse."""
    if value is None:
        return queryset
    if "\0" in value or len(value) > LONGEST or not _is_utf8(value):
        return queryset.none()
    return queryset.filter(**{column: value})


def _is_utf8(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


class StateFilter(SimpleListFilter):
    """Waiting, delayed, running or stuck."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """What operators type and links carry are the words they read."""
        return [
            (State.WAITING.value, str(STATES[State.WAITING])),
            (State.DELAYED.value, str(STATES[State.DELAYED])),
            ("running", str(STATES[State.RESERVED])),
            (State.STUCK.value, str(STATES[State.STUCK])),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of that state."""
        value = self.value()
        if value is None:
            return queryset
        known = {"running": State.RESERVED} | {state.value: state for state in State}
        return queryset.filter(in_state(known[value])) if value in known else queryset.none()


class QueueFilter(SimpleListFilter):
    """One queue. The names come from the settings and from a walk along the index."""

    title = _("queue")
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Queue names; the chosen one is among them even when nothing is left in it."""
        names = set(self.names(request, model_admin))
        names |= {name for name in request.GET.getlist(self.parameter_name) if name}
        return [(name, text.one_line(name, LONGEST)) for name in sorted(names)]

    def names(self, request: HttpRequest, model_admin: Any) -> list[str]:
        """The queues to offer."""
        return queue_names.of_jobs(model_admin.alias(request))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of that queue."""
        return _named(queryset, "queue", self.value())


class FailedQueueFilter(QueueFilter):
    """One queue that has failed jobs."""

    def names(self, request: HttpRequest, model_admin: Any) -> list[str]:
        """The queues of the chosen connection, or of all."""
        alias = model_admin.alias(request)
        connection = request.GET.get("connection")
        usable = connection is None or ("\0" not in connection and _is_utf8(connection))
        return queue_names.of_failed_jobs(alias, connection) if usable else []


class FailedConnectionFilter(SimpleListFilter):
    """One connection that has failed jobs."""

    title = _("connection")
    parameter_name = "connection"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Every connection that rows name, known to the settings or not."""
        names = queue_names.connections_of_failed_jobs(model_admin.alias(request))
        return [(name, text.one_line(name, LONGEST)) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of that connection."""
        return _named(queryset, "connection", self.value())


class FailedWhenFilter(SimpleListFilter):
    """How long ago it failed. Fixed spans: a date hierarchy would read the table's ends."""

    title = _("time of failure")
    parameter_name = "failed"
    SPANS = {
        "15m": (_("in the last 15 minutes"), timedelta(minutes=15)),
        "1h": (_("in the last hour"), timedelta(hours=1)),
        "24h": (_("in the last 24 hours"), timedelta(hours=24)),
        "7d": (_("in the last 7 days"), timedelta(days=7)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The spans, and what is older than all of them."""
        return [
            *((key, str(words)) for key, (words, _span) in self.SPANS.items()),
            ("older", str(_("earlier"))),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of that span, by the database's clock."""
        value = self.value()
        if value in self.SPANS:
            return queryset.filter(failed_at__gte=UtcNow() - self.SPANS[value][1])
        if value == "older":
            return queryset.filter(failed_at__lt=UtcNow() - self.SPANS["7d"][1])
        return queryset


class DatabaseFilter(SimpleListFilter):
    """Which database's table is shown; only there when connections keep jobs in several."""

    title = _("connection")
    parameter_name = DATABASE

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The aliases, called by their connections."""
        databases = model_admin.databases()
        if len(databases) < 2:
            return []
        return [(alias, ", ".join(names)) for alias, names in databases.items()]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """No "All": rows of two databases are never in one list."""
        shown = self.value() or next(iter(self.lookup_choices))[0]
        for alias, names in self.lookup_choices:
            yield {
                "selected": str(alias) == shown,
                "query_string": changelist.get_query_string({self.parameter_name: alias}, ["p"]),
                "display": names,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """As it is: `OperatorAdmin.get_queryset` has chosen the database already."""
        return queryset
