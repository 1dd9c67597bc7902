"""The jobs of every connection: what waits, is delayed, runs or is stuck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from djqueue.admin import stores
from djqueue.admin.base import column, named
from djqueue.admin.bound.facts import chain_facts, held_back_fact, key_facts, usual_fact
from djqueue.admin.bound.verbs import END_CHAIN, UNLOCK
from djqueue.admin.bulk import exporting
from djqueue.admin.contents import EXCEPTIONS_VISIBLE, VISIBLE, attempts, contents, name_fact
from djqueue.admin.lists import queue_names, store_jobs
from djqueue.admin.lists.filters import CONNECTION, QueueFilter, StateFilter, StoreFilter
from djqueue.admin.lists.search import Wanted
from djqueue.admin.lists.selection import stored_key
from djqueue.admin.lists.states import with_state
from djqueue.admin.lists.store_jobs import StoreChangeList, StoreRows
from djqueue.admin.lists.words import NOTHING, moment, state_pill
from djqueue.admin.operator import OperatorAdmin
from djqueue.admin.verbs.jobs import (
    CHANGE_IT,
    COPY,
    DELETE,
    FORCE_DELETE,
    MOVE,
    RELEASE,
    RUN_NOW,
    STOP,
)
from djqueue.compat import kept_filters
from djqueue.drivers.base import State
from djqueue.errors import QueueError
from djqueue.operations.reports.why import of_stored
from djqueue.operations.selection import EVERY_STATE
from djqueue.text import printable as text
from djqueue.text.masking import masked_text

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.utils.safestring import SafeString

    from djqueue.admin.lists.selection import Key
    from djqueue.admin.verbs.verb import Verb


class QueuedJobAdmin(OperatorAdmin):
    """Jobs, newest first."""

    verbs = (RUN_NOW, RELEASE, CHANGE_IT, MOVE, COPY, UNLOCK, END_CHAIN, STOP, DELETE, FORCE_DELETE)
    export = exporting.JOBS
    heavy_columns = ("payload", "history")
    list_display = ("job", "queue_name", "status", "tried", "created")
    list_filter = (StoreFilter, StateFilter, QueueFilter)
    # What is searched is up to `search`; Django wants to see a name here to draw the box.
    search_fields = ("name",)
    search_help_text = _(
        "Id, or its end · job:shop.SendMail · queue:mail · arg:order=42 · tag:T · batch:ID ·"
        " a part of a name"
    )
    ordering = ("-id",)

    def databases(self) -> Mapping[str, Sequence[str]]:
        """Return the databases that connections keep jobs in."""
        return stores.with_jobs()

    def stores(self) -> list[str]:
        """Return the connections that keep jobs in other stores."""
        return stores.elsewhere()

    def connection(self, request: HttpRequest) -> str | None:
        """Return the connection that the list or the page is about; None for a database."""
        kept = kept_filters(request)
        asked = request.GET.get(CONNECTION) or kept.get(CONNECTION)
        return asked if asked in self.stores() else None

    def queue_names(self, request: HttpRequest) -> list[str]:
        """Return the queues to filter by."""
        connection = self.connection(request)
        if connection is not None:
            return store_jobs.queue_names(connection)
        return queue_names.of_jobs(self.alias(request))

    def store_rows(self, request: HttpRequest, query: str) -> StoreRows:
        """Return the jobs of another store that match the filters and the search."""
        state = request.GET.get(StateFilter.parameter_name)
        return StoreRows(
            self.connection(request) or "",
            request.GET.get(QueueFilter.parameter_name) or None,
            EVERY_STATE if state is None else StateFilter.states(state),
            Wanted(self.search(request, query)),
        )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list of the store that the request names, which may be no database."""
        if self.connection(request) is not None:
            return StoreChangeList
        return super().get_changelist(request, **kwargs)

    def get_sortable_by(self, request: HttpRequest) -> Any:
        """Return no column for another store: it has one order, in which its jobs run."""
        return () if self.connection(request) else super().get_sortable_by(request)

    def key(self, request: HttpRequest, given: str) -> Key | None:
        """Return a row number, or the key of a job in another store."""
        if self.connection(request) is None:
            return super().key(request, given)
        return given if stored_key(given) is not None else None

    def rows(self, request: HttpRequest, keys: Sequence[Key]) -> list[Any]:
        """Return those of the jobs that exist; none if their store does not answer."""
        connection = self.connection(request)
        if connection is None:
            return super().rows(request, keys)
        try:
            return store_jobs.find(connection, keys)
        except QueueError as error:
            message = text.one_line(masked_text(str(error)))
            self.message_user(request, message, messages.ERROR, fail_silently=True)
            return []

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Model | None:
        """Return a job for its page, from the store that has it."""
        if self.connection(request) is None:
            return super().get_object(request, object_id, from_field)
        return next(iter(self.rows(request, [object_id])), None)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow also the connection, which is the parameter of one of the filters."""
        return lookup == CONNECTION or super().lookup_allowed(lookup, value, request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows with each job's state, by the database's clock."""
        return with_state(super().get_queryset(request))

    def for_all(self, request: HttpRequest) -> list[Verb]:
        """Return the usual ones; “Run now” where the list is one of delayed jobs."""
        delayed = request.GET.get(StateFilter.parameter_name) == State.DELAYED.value
        return [verb for verb in super().for_all(request) if delayed or verb is not RUN_NOW]

    def seen(self, row: Any) -> str:
        """Return the reservation, which changes with each worker that takes the job."""
        return str(getattr(row, "seen", row.reservation))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Return the list, with the pauses that are in force."""
        context = {
            "paused": stores.paused(),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    # -- columns -------------------------------------------------------------------------------

    @admin.display(description=_("job"))
    def job(self, row: Any) -> SafeString:
        """Return the name, and enough of the id to recognise it."""
        return named(row)

    @column(_("queue"))
    def queue_name(self, row: Any) -> str:
        """Return its queue."""
        return text.one_line(row.queue)

    @column(_("state"))
    def status(self, row: Any) -> SafeString:
        """Return its state, and since when or until when."""
        return _pill(row)

    @column(_("attempts"))
    def tried(self, row: Any) -> int:
        """Return the number of attempts that have begun."""
        return int(row.attempts)

    @column(_("created"), ordering="id")
    def created(self, row: Any) -> SafeString | str:
        """Return the time of its dispatch. Row numbers are in that order, and have an index."""
        return moment(row.created_at, row.now)

    # -- the page of a job ---------------------------------------------------------------------

    def summary(self, row: Any) -> SafeString:
        """Return state, queue and worker, for a confirmation page."""
        queue = text.one_line(row.queue)
        if row.holder is None:
            return format_html("{} {}", _pill(row), queue)
        return format_html("{} {} · {}", _pill(row), queue, text.one_line(row.holder))

    def detail(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return everything that is known about a job."""
        visible = request.user.has_perm(VISIBLE)
        readable = request.user.has_perm(EXCEPTIONS_VISIBLE)
        shown = contents(row.payload, self.admin_site.name, visible=visible, name=row.name)
        held = held_back_fact(row, visible=readable)
        before = attempts(row.history, visible=readable)
        return {
            **super().detail(request, row),
            "pill": _pill(row),
            **self._explained(request, row, errors=readable),
            "facts": [
                *name_fact(shown),
                *held,
                *_facts(row, self.connection(request)),
                *usual_fact(self._named_connection(request), row.queue, row.name),
                *(key_facts(row) if visible else ()),
                *chain_facts(row.payload),
            ],
            "contents": shown,
            "values_visible": visible,
            "exceptions_visible": readable,
            "attempts": before[:-1] if held else before,  # to be held back is no attempt
        }

    def _named_connection(self, request: HttpRequest) -> str | None:
        """Return a connection that the job is on; None if no connection keeps jobs there."""
        found = self.connection(request)
        return found or next(iter(self.databases()[self.alias(request)]), None)

    def _explained(self, request: HttpRequest, row: Any, *, errors: bool) -> dict[str, Any]:
        """Return why the job does not run, and what to do about it."""
        if row.state in _EXPLANATIONS:
            return {"explanation": _EXPLANATIONS[row.state]}
        connection = self._named_connection(request)
        if connection is None:
            return {}
        try:
            why = of_stored(connection, store_jobs.job_of(row), errors=errors)
        except QueueError as error:  # its store does not answer any more
            return {"explanation": text.one_line(masked_text(str(error)))}
        return {"explanation": why.answer, "remedy": why.remedy}


_EXPLANATIONS = {
    State.STUCK.value: _(
        "The worker that took this job has given no sign of life for longer than its lease. A"
        " worker of this connection takes it over as soon as one runs; if none does, release or"
        " delete it here."
    ),
    State.RESERVED.value: _(
        "A worker is running this job. Stopping it kills the attempt; deleting it from the queue"
        " lets the attempt go on to its end."
    ),
}


def _pill(row: Any) -> SafeString:
    state = State(row.state)
    held = state in (State.RESERVED, State.STUCK)
    return state_pill(state, row.reserved_at if held else row.available_at, row.now)


def _facts(row: Any, connection: str | None) -> list[tuple[Any, Any]]:
    holder = text.one_line(row.holder) if row.holder else ""
    worker = holder or (_("unknown: its row is gone") if row.reserved_by else NOTHING)
    return [
        (_("Id"), row.uuid),
        *([(_("Connection"), text.one_line(connection))] if connection else []),
        (_("Queue"), text.one_line(row.queue)),
        (_("Worker"), worker),
        (_("Attempts"), row.attempts),
        (_("Interruptions"), row.interruptions),
        (_("Priority"), row.priority),
        (_("Created"), moment(row.created_at, row.now, full=True)),
        (_("Available"), moment(row.available_at, row.now, full=True)),
        (_("Taken by the worker"), moment(row.reserved_at, row.now, full=True)),
        *([(_("Row"), row.pk)] if connection is None else []),
    ]
