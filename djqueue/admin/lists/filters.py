"""The filters beside the lists. None of them reads the whole table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.admin import SimpleListFilter
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from djqueue.admin.lists import queue_names
from djqueue.databases.now import UtcNow
from djqueue.drivers.base import State
from djqueue.drivers.database.rows import in_state
from djqueue.operations.words import STATES
from djqueue.text import printable as text

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList
    from django.db.models import QuerySet
    from django.http import HttpRequest

DATABASE = "database"
"""The parameter that names a database alias, where the jobs of several are shown."""

CONNECTION = "connection"
"""The parameter that names a connection whose jobs are in no database."""

LONGEST = 255
"""Characters of a queue's or a connection's name."""

Choices = list[tuple[Any, str]]


def named(queryset: QuerySet[Any], column: str, value: str | None) -> QuerySet[Any]:
    """Return the rows with that name; none for a name that no row can have and that some databases
    refuse.
    """
    if value is None:
        return queryset
    if "\0" in value or len(value) > LONGEST or not _is_utf8(value):
        return queryset.none()
    return queryset.filter(**{column: value})


def _is_utf8(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _connections(request: HttpRequest, model_admin: Any) -> list[str]:
    """Return the connections of failed jobs. They are read once a request."""
    found: list[str] | None = getattr(request, "djqueue_connections", None)
    if found is None:
        found = queue_names.connections_of_failed_jobs(model_admin.alias(request))
        request.djqueue_connections = found  # type: ignore[attr-defined]
    return found


class StateFilter(SimpleListFilter):
    """Waiting, delayed, running or stuck."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return the states by the words that operators read, which links carry as well."""
        return [
            (State.WAITING.value, str(STATES[State.WAITING])),
            (State.DELAYED.value, str(STATES[State.DELAYED])),
            ("running", str(STATES[State.RESERVED])),
            (State.STUCK.value, str(STATES[State.STUCK])),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of that state."""
        value = self.value()
        if value is None:
            return queryset
        states = self.states(value)
        return queryset.filter(in_state(states[0])) if states else queryset.none()

    @staticmethod
    def states(value: str) -> list[State]:
        """Return the states that a word in a link means; none for another word."""
        known = {"running": State.RESERVED} | {state.value: state for state in State}
        return [known[value]] if value in known else []


class NameFilter(SimpleListFilter):
    """One of several names. Where there is one alone, there is nothing to choose."""

    def has_output(self) -> bool:
        """Return whether the list shows the filter; one in use is shown always."""
        return len(self.lookup_choices) > 1 or self.value() is not None


class QueueFilter(NameFilter):
    """One queue. The names come from the settings and from a walk along the index."""

    title = _("queue")
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return queue names. The chosen one is among them even if nothing is left in it."""
        names = set(self.names(request, model_admin))
        names |= {name for name in request.GET.getlist(self.parameter_name) if name}
        return [(name, text.one_line(name, LONGEST)) for name in sorted(names)]

    def names(self, request: HttpRequest, model_admin: Any) -> list[str]:
        """Return the queues to offer."""
        found: list[str] = model_admin.queue_names(request)
        return found

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of that queue."""
        return named(queryset, "queue", self.value())


class FailedQueueFilter(QueueFilter):
    """One queue that has failed jobs."""

    def names(self, request: HttpRequest, model_admin: Any) -> list[str]:
        """Return the queues of the chosen connection, or of all."""
        alias = model_admin.alias(request)
        connection = request.GET.get("connection")
        if not connection:
            return queue_names.of_failed_jobs(alias, _connections(request, model_admin))
        usable = "\0" not in connection and _is_utf8(connection)
        return queue_names.of_failed_jobs(alias, [connection]) if usable else []


class FailedConnectionFilter(NameFilter):
    """One connection that has failed jobs."""

    title = _("connection")
    parameter_name = "connection"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return every connection that rows name, whether the settings know it or not."""
        names = _connections(request, model_admin)
        return [(name, text.one_line(name, LONGEST)) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of that connection."""
        return named(queryset, "connection", self.value())


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
        """Return the spans, and one for everything older."""
        return [
            *((key, str(words)) for key, (words, _span) in self.SPANS.items()),
            ("older", str(_("earlier"))),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of that span, by the database's clock; of an act on everything that
        matches, those at its beginning.
        """
        value = self.value()
        now = getattr(request, "djqueue_began", None) or UtcNow()
        if value in self.SPANS:
            return queryset.filter(failed_at__gte=now - self.SPANS[value][1])
        if value == "older":
            return queryset.filter(failed_at__lt=now - self.SPANS["7d"][1])
        return queryset


class DatabaseFilter(SimpleListFilter):
    """Which database's table is shown; only there when connections keep jobs in several."""

    title = _("connection")
    parameter_name = DATABASE

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return the aliases, with the names of their connections."""
        databases = model_admin.databases()
        if len(databases) < 2:
            return []
        return [(alias, ", ".join(names)) for alias, names in databases.items()]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Return the choices without "All": rows of two databases are never in one list."""
        shown = self.value() or next(iter(self.lookup_choices))[0]
        for alias, names in self.lookup_choices:
            yield {
                "selected": str(alias) == shown,
                "query_string": changelist.get_query_string({self.parameter_name: alias}, ["p"]),
                "display": names,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return `queryset` unchanged: `OperatorAdmin.get_queryset` has chosen the database
        already.
        """
        return queryset


class StoreFilter(DatabaseFilter):
    """Which connection's jobs are shown: those of a database's table, or of another store."""

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any
    ) -> None:
        params.pop(CONNECTION, None)
        self._connection: str | None = model_admin.connection(request)
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return the databases and the other stores, with the names of their connections."""
        databases = model_admin.databases()
        self._stores: list[str] = model_admin.stores()
        if len(databases) + len(self._stores) < 2:
            return []
        return [(alias, ", ".join(names) or alias) for alias, names in databases.items()]

    def expected_parameters(self) -> list[str | None]:
        """Return both parameters, so that choosing either clears the other."""
        return [self.parameter_name, CONNECTION]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Return the databases first, as if there were no other stores."""
        for choice in super().choices(changelist):
            alias_only = {**choice, "query_string": _without_connection(choice["query_string"])}
            yield alias_only | {"selected": choice["selected"] and self._connection is None}
        others = [self.parameter_name, "p", "queue"]
        for name in self._stores:
            yield {
                "selected": name == self._connection,
                "query_string": changelist.get_query_string({CONNECTION: name}, others),
                "display": text.one_line(name, LONGEST),
            }


def _without_connection(query: str) -> str:
    """Return an address without the connection of another store."""
    given = QueryDict(query.removeprefix("?"), mutable=True)
    given.pop(CONNECTION, None)
    return f"?{given.urlencode()}"
