"""Workers: who is there, what they listen to, and who is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from djqueue.admin import stores
from djqueue.admin.base import ReadOnlyAdmin, column
from djqueue.admin.lists.filters import DatabaseFilter
from djqueue.admin.lists.words import NOTHING, moment, pill
from djqueue.conf import settings
from djqueue.databases.now import UtcNow
from djqueue.operations.words import since, span
from djqueue.text import printable as text

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.utils.safestring import SafeString


class WorkerAdmin(ReadOnlyAdmin):
    """Workers, living ones first; lost ones stay for an hour."""

    list_display = ("worker", "connection_name", "queue_names", "life", "doing", "started")
    list_filter = (DatabaseFilter,)
    ordering = ("-alive_until",)
    actions = None

    def databases(self) -> Mapping[str, Sequence[str]]:
        """Return the databases that connections keep jobs in: workers of a connection report
        there.
        """
        return stores.with_jobs()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows with the database's clock, and the number of jobs that each worker
        holds.
        """
        from djqueue.models import QueuedJob

        held = (
            QueuedJob.objects.filter(reserved_by=OuterRef("pk"))
            .order_by()
            .values("reserved_by")
            .annotate(held=Count("pk"))
            .values("held")
        )
        counted = Coalesce(Subquery(held, output_field=IntegerField()), 0)
        rows: QuerySet[Any] = super().get_queryset(request).annotate(now=UtcNow(), held=counted)
        return rows

    @admin.display(description=_("worker"))
    def worker(self, row: Any) -> SafeString:
        """Return its name; with host and process if the name differs from them."""
        place, name = text.one_line(f"{row.hostname}:{row.pid}"), text.one_line(row.name)
        if name == place:
            return format_html("<bdi>{}</bdi>", name)
        return format_html('<bdi>{}</bdi> <span class="djq-id" dir="ltr">{}</span>', name, place)

    @column(_("connection"))
    def connection_name(self, row: Any) -> str:
        """Return the connection that it reserves from."""
        return text.one_line(row.connection)

    @column(_("queues"))
    def queue_names(self, row: Any) -> str:
        """Return its queues in the order in which it asks them."""
        return _queues(row)

    @column(_("status"))
    def life(self, row: Any) -> SafeString:
        """Return whether it is alive, which it is while its lease lasts."""
        return _life(row)

    @column(_("activity"))
    def doing(self, row: Any) -> SafeString | str:
        """Return whether it is idle or busy; for a lost worker, the jobs that it left behind."""
        return _doing(row)

    @column(_("started"), ordering="started_at")
    def started(self, row: Any) -> SafeString | str:
        """Return the time of its start."""
        return moment(row.started_at, row.now)

    def detail(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return the columns with more exact values."""
        return {
            "pill": _life(row),
            "facts": [
                (_("Connection"), text.one_line(row.connection)),
                (_("Queues"), _queues(row)),
                (_("Host"), text.one_line(row.hostname)),
                (_("Process"), row.pid),
                (_("Activity"), _doing(row)),
                (_("Started"), moment(row.started_at, row.now, full=True)),
                (_("Lease ends"), moment(row.alive_until, row.now, full=True)),
            ],
        }


def _queues(row: Any) -> str:
    return text.one_line(", ".join(row.queues.split(",")))


def _life(row: Any) -> SafeString:
    silent = since(row.alive_until, row.now)
    if silent <= 0:
        return pill("alive", gettext("Alive"))
    text = gettext("Lost · lease expired %(span)s ago") % {"span": span(silent)}
    return pill("lost", text)


def _doing(row: Any) -> SafeString | str:
    connection = settings().connections.get(row.connection)
    if connection is not None and not connection.jobs_in_sql:
        return NOTHING  # its store knows, and is not asked
    held = ngettext("%(count)d job", "%(count)d jobs", row.held) % {"count": row.held}
    if since(row.alive_until, row.now) > 0:
        return gettext("held %(jobs)s") % {"jobs": held}
    if row.held:
        return pill("busy", gettext("Busy · %(jobs)s") % {"jobs": held})
    return pill("idle", gettext("Idle"))
