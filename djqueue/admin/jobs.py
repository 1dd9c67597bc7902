"""The jobs of database connections: what waits, is delayed, runs or is stuck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.models import CHANGE, DELETION
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from djqueue.admin import job_changes, stores
from djqueue.admin.base import column, named
from djqueue.admin.contents import EXCEPTIONS_VISIBLE, VISIBLE, attempts, contents
from djqueue.admin.lists.filters import DatabaseFilter, QueueFilter, StateFilter
from djqueue.admin.lists.search import condition
from djqueue.admin.lists.words import NOTHING, moment, state_pill
from djqueue.admin.operator import OperatorAdmin, Verb
from djqueue.admin.outcome import Wording, plural
from djqueue.drivers.base import State
from djqueue.text import printable as text

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.utils.safestring import SafeString

_NOT_DELETED = plural("%(count)d job was not deleted", "%(count)d jobs were not deleted")

DELETE = Verb(
    name="delete",
    label=_("Delete"),
    permissions=("djqueue.delete_queuedjob",),
    apply=job_changes.delete,
    wording=Wording(plural("Deleted %(count)d job", "Deleted %(count)d jobs"), _NOT_DELETED),
    flag=DELETION,
    offered=lambda job: job.state != State.RESERVED.value,
    destructive=True,
)
FORCE_DELETE = Verb(
    name="force_delete",
    label=_("Delete even though running"),
    permissions=("djqueue.delete_queuedjob", "djqueue.force_delete_job"),
    apply=job_changes.force_delete,
    wording=Wording(
        plural("Deleted %(count)d running job", "Deleted %(count)d running jobs"),
        _NOT_DELETED,
        lambda count: gettext(
            "The attempt that runs goes on; its result is ignored and it is not retried."
        ),
    ),
    flag=DELETION,
    offered=lambda job: job.state == State.RESERVED.value,
    question=_(
        "This removes the job from the queue only. The worker keeps executing the current attempt"
        " to its end; its result is ignored, and it is not retried."
    ),
    destructive=True,
    compares=True,
)
RELEASE = Verb(
    name="release",
    label=_("Release"),
    permissions=("djqueue.release_job",),
    apply=job_changes.release,
    wording=Wording(
        plural("Released %(count)d stuck job", "Released %(count)d stuck jobs"),
        plural("%(count)d job was not released", "%(count)d jobs were not released"),
        lambda count: gettext("The next free worker takes over."),
    ),
    flag=CHANGE,
    offered=lambda job: job.state == State.STUCK.value,
    compares=True,
)
RUN_NOW = Verb(
    name="run_now",
    label=_("Run now"),
    permissions=("djqueue.release_job",),
    apply=job_changes.run_now,
    wording=Wording(
        plural("%(count)d delayed job may run now", "%(count)d delayed jobs may run now"),
        plural("%(count)d job was left as it is", "%(count)d jobs were left as they are"),
    ),
    flag=CHANGE,
    offered=lambda job: job.state == State.DELAYED.value,
)


class QueuedJobAdmin(OperatorAdmin):
    """Jobs, newest first."""

    verbs = (RUN_NOW, RELEASE, DELETE, FORCE_DELETE)
    heavy_columns = ("payload", "history")
    list_display = ("job", "queue_name", "status", "tried", "created")
    list_filter = (DatabaseFilter, StateFilter, QueueFilter)
    # What is searched is up to `search`; Django wants to see a name here to draw the box.
    search_fields = ("name",)
    search_help_text = _("Id, or a part of it · job:shop.SendMail · queue:mail · a part of a name")
    ordering = ("-id",)
    actions = ("delete_jobs", "release_jobs", "run_jobs_now", "force_delete_jobs")

    def databases(self) -> Mapping[str, Sequence[str]]:
        """The databases that connections keep jobs in."""
        return stores.with_jobs()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With each job's state, by the database's clock."""
        return job_changes.with_state(super().get_queryset(request))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By id, name and queue."""
        return queryset.filter(condition(search_term)), False

    def seen(self, row: Any) -> int:
        """The reservation number: one more for each worker that takes the job."""
        return int(row.reservation)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, with a word about the connections whose jobs are not in it."""
        context = {
            "elsewhere": stores.elsewhere(),
            "paused": stores.paused(),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    # -- columns -------------------------------------------------------------------------------

    @admin.display(description=_("job"))
    def job(self, row: Any) -> SafeString:
        """The name, and enough of the id to know it again."""
        return named(row)

    @column(_("queue"))
    def queue_name(self, row: Any) -> str:
        """Its queue."""
        return text.one_line(row.queue)

    @column(_("state"))
    def status(self, row: Any) -> SafeString:
        """Its state, and since when or until when."""
        return _pill(row)

    @column(_("attempts"))
    def tried(self, row: Any) -> int:
        """How many attempts have begun."""
        return int(row.attempts)

    @column(_("created"), ordering="id")
    def created(self, row: Any) -> SafeString | str:
        """When it was dispatched. Row numbers are in that order, and have an index."""
        return moment(row.created_at, row.now)

    # -- actions -------------------------------------------------------------------------------

    def has_delete_jobs_permission(self, request: HttpRequest) -> bool:
        """For the list's menu."""
        return DELETE.allowed(request)

    def has_force_delete_jobs_permission(self, request: HttpRequest) -> bool:
        """For the list's menu."""
        return FORCE_DELETE.allowed(request)

    def has_release_jobs_permission(self, request: HttpRequest) -> bool:
        """For the list's menu."""
        return RELEASE.allowed(request)

    @admin.action(description=_("Delete selected jobs"), permissions=["delete_jobs"])
    def delete_jobs(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Waiting, delayed and stuck ones."""
        return self.run(request, queryset, DELETE)

    @admin.action(
        description=_("Delete selected jobs even though running"),
        permissions=["force_delete_jobs"],
    )
    def force_delete_jobs(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Running ones, after a question."""
        return self.run(request, queryset, FORCE_DELETE)

    @admin.action(description=_("Release selected stuck jobs"), permissions=["release_jobs"])
    def release_jobs(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Back to waiting."""
        return self.run(request, queryset, RELEASE)

    @admin.action(description=_("Run selected delayed jobs now"), permissions=["release_jobs"])
    def run_jobs_now(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Without waiting for their time."""
        return self.run(request, queryset, RUN_NOW)

    # -- the page of a job ---------------------------------------------------------------------

    def summary(self, row: Any) -> SafeString:
        """State, queue and worker, for a question."""
        queue = text.one_line(row.queue)
        if row.holder is None:
            return format_html("{} {}", _pill(row), queue)
        return format_html("{} {} · {}", _pill(row), queue, text.one_line(row.holder))

    def detail(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """All there is to know about a job."""
        visible = request.user.has_perm(VISIBLE)
        readable = request.user.has_perm(EXCEPTIONS_VISIBLE)
        return {
            **super().detail(request, row),
            "pill": _pill(row),
            "explanation": _EXPLANATIONS.get(row.state, ""),
            "facts": _facts(row),
            "contents": contents(row.payload, self.admin_site.name, visible=visible, name=row.name),
            "values_visible": visible,
            "exceptions_visible": readable,
            "attempts": attempts(row.history, visible=readable),
        }


_EXPLANATIONS = {
    State.STUCK.value: _(
        "The worker that took this job has given no sign of life for longer than its lease. A"
        " worker of this connection takes it over as soon as one runs; if none does, release or"
        " delete it here."
    ),
    State.RESERVED.value: _(
        "A worker is running this job. It can be deleted from the queue, but the attempt that runs"
        " goes on to its end."
    ),
}


def _pill(row: Any) -> SafeString:
    state = State(row.state)
    held = state in (State.RESERVED, State.STUCK)
    return state_pill(state, row.reserved_at if held else row.available_at, row.now)


def _facts(row: Any) -> list[tuple[Any, Any]]:
    holder = text.one_line(row.holder) if row.holder else ""
    worker = holder or (_("unknown: its row is gone") if row.reserved_by else NOTHING)
    return [
        (_("Id"), row.uuid),
        (_("Queue"), text.one_line(row.queue)),
        (_("Worker"), worker),
        (_("Attempts"), row.attempts),
        (_("Interruptions"), row.interruptions),
        (_("Priority"), row.priority),
        (_("Created"), moment(row.created_at, row.now, full=True)),
        (_("Available"), moment(row.available_at, row.now, full=True)),
        (_("Taken by the worker"), moment(row.reserved_at, row.now, full=True)),
        (_("Row"), row.pk),
    ]
