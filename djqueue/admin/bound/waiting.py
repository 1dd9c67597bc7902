"""Jobs that wait outside their store: for another dispatch, for their turn, or for their time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.models import CHANGE, DELETION
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _

from djqueue.admin.base import column, named
from djqueue.admin.bound.facts import key_facts
from djqueue.admin.contents import VISIBLE, contents, name_fact
from djqueue.admin.lists.words import moment, pill
from djqueue.admin.operator import OperatorAdmin
from djqueue.admin.outcome import Wording, plural
from djqueue.admin.verbs.verb import Verb
from djqueue.composition import removing
from djqueue.composition.chains import steps
from djqueue.conf import settings
from djqueue.databases.now import aware
from djqueue.dispatch.connections import driver_of, queues
from djqueue.drivers import parking
from djqueue.models import Outbox
from djqueue.operations import results
from djqueue.operations.reports.why import of_waiting
from djqueue.operations.results import Reason, Result, Target, one_by_one
from djqueue.text import printable as text

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest
    from django.utils.safestring import SafeString

    from djqueue.admin.lists.selection import Selection

__all__ = ["OutboxAdmin"]

_NO_TIME = Reason(_("it does not wait for a time."), _("they do not wait for a time."))


def _each(act: Callable[[str, Outbox], bool], otherwise: Reason) -> Callable[[Selection], Result]:
    """Return a function that does something to each row; `act` says whether it changed it."""

    def apply(selection: Selection) -> Result:
        found = (
            (Target(row.connection, row.queue, str(row.uuid), row.name, row.pk), row)
            for row in _rows(selection)
        )
        chosen = len(selection.keys)
        return one_by_one(chosen, found, lambda _, row: act(selection.alias, row), otherwise)

    return apply


def _rows(selection: Selection) -> QuerySet[Outbox]:
    return Outbox.objects.using(selection.alias).filter(pk__in=selection.keys).order_by("pk")


def _delete(alias: str, row: Outbox) -> bool:
    if row.chain is not None:
        id = str(row.uuid)
        was_member = removing.remove_member(alias, id, driver_of)
        return was_member or steps.give_up_with(alias, [id]) > 0
    (job,) = parking.described([row])
    return removing.remove_waiting(queues[row.connection].driver, job)


def _run_now(alias: str, row: Outbox) -> bool:
    return parking.make_due(parking.parked(alias, row.connection).filter(pk=row.pk)) > 0


DELETE = Verb(
    name="delete",
    label=_("Delete"),
    permissions=("djqueue.delete_queuedjob",),
    apply=_each(_delete, results.FINISHED),
    wording=Wording(
        plural(ngettext_lazy("Deleted %(count)d job", "Deleted %(count)d jobs", "count")),
        plural(
            ngettext_lazy(
                "%(count)d job was not deleted", "%(count)d jobs were not deleted", "count"
            )
        ),
    ),
    flag=DELETION,
    question=_("With a step of a chain all others that wait in that chain are deleted too."),
    destructive=True,
)
RUN_NOW = Verb(
    name="run_now",
    label=_("Run now"),
    permissions=("djqueue.release_job",),
    apply=_each(_run_now, _NO_TIME),
    wording=Wording(
        plural(ngettext_lazy("%(count)d job may run now", "%(count)d jobs may run now", "count")),
        plural(
            ngettext_lazy(
                "%(count)d job was left as it is", "%(count)d jobs were left as they are", "count"
            )
        ),
    ),
    flag=CHANGE,
    offered=lambda row: row.parked and row.chain is None,
)


class OutboxAdmin(OperatorAdmin):
    """Rows of the outbox, next to be due first."""

    verbs = (RUN_NOW, DELETE)
    heavy_columns = ("payload",)
    list_display = ("job", "place", "status", "due", "created")
    ordering = ("due_at", "id")
    actions = ("delete_jobs", "run_jobs_now")

    def databases(self) -> Mapping[str, Sequence[str]]:
        """Return the databases with an outbox."""
        return {alias: [alias] for alias in (steps.store(), *settings().databases)}

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return whether the user may see jobs."""
        return request.user.has_perm("djqueue.view_queuedjob")

    # -- columns -------------------------------------------------------------------------------

    @admin.display(description=_("job"))
    def job(self, row: Any) -> SafeString:
        """Return the name, and enough of the id to recognise it."""
        return named(row)

    @column(_("queue"))
    def place(self, row: Any) -> SafeString:
        """Return the queue, and its connection."""
        queue, connection = text.one_line(row.queue), text.one_line(row.connection)
        return format_html('{} <span class="djq-under">{}</span>', queue, connection)

    @column(_("waits for"))
    def status(self, row: Any) -> SafeString:
        """Return what it waits for."""
        return _waits_for(row)

    @column(_("due"), ordering="due_at")
    def due(self, row: Any) -> SafeString | str:
        """Return when it is moved to its store."""
        return moment(aware(row.due_at), timezone.now())

    @column(_("created"), ordering="id")
    def created(self, row: Any) -> SafeString | str:
        """Return the time of its dispatch."""
        return moment(aware(row.created_at), timezone.now())

    # -- actions -------------------------------------------------------------------------------

    def has_delete_jobs_permission(self, request: HttpRequest) -> bool:
        """Return whether the list's menu offers it."""
        return DELETE.allowed(request)

    def has_release_jobs_permission(self, request: HttpRequest) -> bool:
        """Return whether the list's menu offers it."""
        return RUN_NOW.allowed(request)

    @admin.action(description=_("Delete selected jobs"), permissions=["delete_jobs"])
    def delete_jobs(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Delete the selected jobs."""
        return self.run(request, queryset, DELETE)

    @admin.action(description=_("Run selected jobs now"), permissions=["release_jobs"])
    def run_jobs_now(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Let the selected jobs run without waiting for their time."""
        return self.run(request, queryset, RUN_NOW)

    # -- the page of a job ---------------------------------------------------------------------

    def detail(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return what is known about a job that waits."""
        now, visible = timezone.now(), request.user.has_perm(VISIBLE)
        shown = contents(row.payload, self.admin_site.name, visible=visible, name=row.name)
        why = of_waiting(self.alias(request), row)
        return {
            **super().detail(request, row),
            "pill": _waits_for(row),
            "explanation": why.answer,
            "remedy": why.remedy,
            "facts": [
                *name_fact(shown),
                (_("Id"), row.uuid),
                (_("Connection"), text.one_line(row.connection)),
                (_("Queue"), text.one_line(row.queue)),
                (_("Priority"), row.priority),
                (_("Created"), moment(aware(row.created_at), now, full=True)),
                (_("Due"), moment(aware(row.due_at), now, full=True)),
                *(key_facts(row) if visible else ()),
                *([(_("Chain or batch"), text.one_line(row.chain))] if row.chain else []),
            ],
            "contents": shown,
            "values_visible": visible,
        }


def _waits_for(row: Any) -> SafeString:
    if row.chain is not None and row.broken:
        return pill("failed", gettext("a retry of the step before"))
    if row.chain is not None:
        return pill("delayed", gettext("its turn"))
    if row.debounced:
        return pill("delayed", gettext("another dispatch"))
    return (
        pill("delayed", gettext("its time"))
        if row.parked
        else pill("waiting", gettext("its store"))
    )
