"""Failed jobs, with all that is known about why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import BooleanField, Value
from django.urls import path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from djqueue.admin import stores
from djqueue.admin.base import column, named
from djqueue.admin.bound.facts import chain_facts, usual_fact
from djqueue.admin.bulk import exporting
from djqueue.admin.contents import (
    EXCEPTIONS_VISIBLE,
    VISIBLE,
    Contents,
    attempts,
    contents,
    name_fact,
    traceback,
)
from djqueue.admin.editing import page as editing
from djqueue.admin.lists import links
from djqueue.admin.lists.filters import (
    FailedConnectionFilter,
    FailedQueueFilter,
    FailedWhenFilter,
)
from djqueue.admin.lists.groups import FailedExceptionFilter, FailedGroupFilter, FailedJobFilter
from djqueue.admin.lists.terms import OF_FAILED
from djqueue.admin.lists.words import moment, pill
from djqueue.admin.operator import OperatorAdmin
from djqueue.admin.verbs.failed import COPY, EDIT, FORGET, RETRY, SPREAD
from djqueue.conf import settings
from djqueue.finish.failed import table
from djqueue.operations.words import grouped, took
from djqueue.text import printable as text
from djqueue.text.masking import masked_text

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern
    from django.utils.safestring import SafeString

MOST_ALIKE = 1_000
"""Failed jobs of a group that its page counts."""
SHORT = 100
"""Characters of an error in the list."""


class FailedJobAdmin(OperatorAdmin):
    """Failed jobs, newest first."""

    verbs = (RETRY, SPREAD, COPY, FORGET)
    export = exporting.FAILED_JOBS
    heavy_columns = ("payload", "exception", "history")
    list_display = ("job", "error", "queue_name", "tried", "failed")
    list_filter = (
        FailedGroupFilter,
        FailedWhenFilter,
        FailedJobFilter,
        FailedExceptionFilter,
        FailedConnectionFilter,
        FailedQueueFilter,
    )
    search_words = OF_FAILED
    # What is searched is up to `search`; Django wants to see a name here to draw the box.
    search_fields = ("name",)
    search_help_text = _(
        "Id, or its end · job:shop.SendMail · queue:mail · exc:TimeoutError · arg:order=42 ·"
        " tag:T · batch:ID · a part of the message"
    )
    ordering = ("-id",)

    def databases(self) -> Mapping[str, Sequence[str]]:
        """Return the database that failed jobs are kept in."""
        alias = settings().failed_jobs or DEFAULT_DB_ALIAS
        return {alias: [alias]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows, each with whether the user may see messages of exceptions. No row where
        no failed jobs are kept: the table may be neglected.
        """
        visible = Value(request.user.has_perm(EXCEPTIONS_VISIBLE), output_field=BooleanField())
        rows: QuerySet[Any] = super().get_queryset(request).annotate(message_visible=visible)
        return rows if settings().failed_jobs is not None else rows.none()

    def searched_column(self, request: HttpRequest) -> str:
        """Return the message, if the user may see it."""
        return "exception_message" if request.user.has_perm(EXCEPTIONS_VISIBLE) else "name"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Return the list, or the reason why there is none."""
        context = {
            "not_kept": settings().failed_jobs is None,
            "paused": stores.paused(),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    def get_urls(self) -> list[URLPattern]:
        """Return those of every screen, and that of the form for other arguments."""
        view = self.admin_site.admin_view(self.edit_view)
        for alias in connections:
            view = transaction.non_atomic_requests(alias)(view)
        name = "djqueue_failedjob_edit_retry"
        return [path("<str:pk>/edit-and-retry/", view, name=name), *super().get_urls()]

    def edit_view(self, request: HttpRequest, pk: str) -> HttpResponse:
        """Ask for other arguments, and retry the job with them."""
        return editing.view(self, request, pk)

    # -- columns -------------------------------------------------------------------------------

    @admin.display(description=_("job"))
    def job(self, row: Any) -> SafeString:
        """Return the name, and enough of the id to recognise it."""
        return named(row)

    @column(_("error"))
    def error(self, row: Any) -> SafeString:
        """Return the exception, shortened; its module is on the job's page."""
        name = text.one_line(row.exception_class)
        return format_html(
            '<span class="djq-error" title="{}" dir="ltr">{}</span> <bdi>{}</bdi>',
            name,
            name.rpartition(".")[2],
            _message(row) if row.message_visible else "",
        )

    @column(_("queue"))
    def queue_name(self, row: Any) -> SafeString:
        """Return the queue, and its connection."""
        return format_html('{} <span class="djq-under">{}</span>', *_place(row))

    @column(_("attempts"))
    def tried(self, row: Any) -> int:
        """Return the number of attempts."""
        return int(row.attempts)

    @column(_("failed"), ordering="failed_at")
    def failed(self, row: Any) -> SafeString | str:
        """Return the time of the failure."""
        return moment(row.failed_at, timezone.now())

    # -- the page of a failed job --------------------------------------------------------------

    def summary(self, row: Any) -> str:
        """Return the error, for a confirmation page."""
        name = text.one_line(row.exception_class)
        return f"{name}: {_message(row)}" if row.message_visible else name

    def detail(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return everything that is known about a failure."""
        visible = request.user.has_perm(VISIBLE)
        readable = row.message_visible
        now = timezone.now()
        queue, connection = _place(row)
        shown = contents(row.payload, self.admin_site.name, visible=visible, name=row.name)
        return {
            **super().detail(request, row),
            "pill": pill("failed", _("Failed")),
            "edit_url": editing.url(self.admin_site.name, row.pk) if EDIT.allowed(request) else "",
            "error_class": text.one_line(row.exception_class),
            "error_message": text.lines(masked_text(row.exception_message)) if readable else "",
            "facts": [
                *name_fact(shown),
                (_("Id"), row.uuid),
                (_("Connection"), connection),
                (_("Queue"), queue),
                (_("Attempts"), _attempts(row, shown)),
                (_("Dispatched"), moment(shown.sent, now, full=True)),
                (_("Failed at"), moment(row.failed_at, now, full=True)),
                *_ran(row),
                *usual_fact(row.connection, row.queue, row.name),
                (_("Row"), row.pk),
                *_alike(row, self.admin_site.name),
                *chain_facts(row.payload),
            ],
            "traceback": traceback(row.exception) if readable else (),
            "exceptions_visible": readable,
            "contents": shown,
            "values_visible": visible,
            "attempts": attempts(row.history, visible=readable),
        }


def _attempts(row: Any, shown: Contents) -> str:
    """Return how often the job was begun, of how many tries."""
    if not shown.tries:
        return str(row.attempts)
    return gettext("%(number)d of %(tries)d") % {"number": row.attempts, "tries": shown.tries}


def _ran(row: Any) -> list[tuple[Any, Any]]:
    """Return how long the last attempt took, and where, as far as that is on record."""
    facts: list[tuple[Any, Any]] = []
    if row.duration is not None:
        facts.append((_("Ran for"), took(row.duration)))
    if row.host:
        facts.append((_("Host"), text.one_line(row.host)))
    return facts


def _alike(row: Any, site: str) -> list[tuple[Any, Any]]:
    """Return a link to the failed jobs of the same group, if there are others."""
    if not row.fingerprint:
        return []
    others = table().filter(fingerprint=row.fingerprint).exclude(pk=row.pk)
    count = others.values("pk")[: MOST_ALIKE + 1].count()
    if not count:
        return []
    words = ngettext("%(count)s other", "%(count)s others", count)
    number = f"{grouped(MOST_ALIKE)}+" if count > MOST_ALIKE else grouped(count)
    url = links.failed_jobs(site, group=row.fingerprint)
    return [(_("Alike"), format_html('<a href="{}">{}</a>', url, words % {"count": number}))]


def _message(row: Any) -> str:
    """Return the exception's message, shortened."""
    return text.one_line(masked_text(row.exception_message, 20 * SHORT), SHORT)


def _place(row: Any) -> tuple[str, str]:
    return text.one_line(row.queue), text.one_line(row.connection)
