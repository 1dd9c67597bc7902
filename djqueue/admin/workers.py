"""Workers: who is there, what each runs and since when, and who is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from djqueue.admin import stores
from djqueue.admin.base import column
from djqueue.admin.lists import links
from djqueue.admin.lists.filters import DatabaseFilter
from djqueue.admin.lists.words import NOTHING, moment, pill
from djqueue.admin.operator import OperatorAdmin
from djqueue.admin.verbs.workers import RESTART
from djqueue.conf import settings
from djqueue.databases.now import UtcNow
from djqueue.dispatch.connections import queues
from djqueue.errors import QueueError
from djqueue.operations.reports.workers import running_jobs
from djqueue.operations.words import since, span
from djqueue.text import printable as text
from djqueue.text import short_ids as ids

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.utils.safestring import SafeString

MOST_JOBS = 10
"""Jobs of a worker that its cell names."""


class WorkerAdmin(OperatorAdmin):
    """Workers, living ones first; lost ones stay for an hour."""

    verbs = (RESTART,)
    list_display = (
        "worker",
        "place",
        "life",
        "doing",
        "memory_used",
        "version_of_djqueue",
        "started",
        "last_sign",
    )
    list_filter = (DatabaseFilter,)
    ordering = ("-alive_until",)

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

    @column(_("queues"))
    def place(self, row: Any) -> SafeString:
        """Return its queues in the order in which it asks them, and the connection."""
        queue, connection = _queues(row), text.one_line(row.connection)
        return format_html('{} <span class="djq-under">{}</span>', queue, connection)

    @column(_("status"))
    def life(self, row: Any) -> SafeString:
        """Return whether it is alive, which it is while its lease lasts."""
        return _life(row)

    @column(_("activity"))
    def doing(self, row: Any) -> SafeString | str:
        """Return the jobs that it runs, each with since when; for a lost worker, how many it has
        left behind.
        """
        return _doing(row, self.admin_site.name)

    @column(_("memory"))
    def memory_used(self, row: Any) -> str:
        """Return what its processes occupy."""
        return _memory(row)

    @column(_("version"))
    def version_of_djqueue(self, row: Any) -> str:
        """Return the version of djqueue that it runs."""
        return text.one_line(row.version) or NOTHING

    @column(_("started"), ordering="started_at")
    def started(self, row: Any) -> SafeString | str:
        """Return the time of its start."""
        return moment(row.started_at, row.now)

    @column(_("last sign"))
    def last_sign(self, row: Any) -> SafeString | str:
        """Return when it last renewed its lease."""
        return _last_sign(row)

    def summary(self, row: Any) -> SafeString:
        """Return what it does, for a confirmation page."""
        return format_html("{} {}", _life(row), _doing(row, self.admin_site.name))

    def detail(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return the columns with more exact values."""
        return {
            **super().detail(request, row),
            "pill": _life(row),
            "explanation": _LOST if since(row.alive_until, row.now) > 0 else "",
            "facts": [
                (_("Activity"), _doing(row, self.admin_site.name)),
                (_("Connection"), text.one_line(row.connection)),
                (_("Queues"), _queues(row)),
                (_("Host"), text.one_line(row.hostname)),
                (_("Process"), row.pid),
                (_("Memory"), _memory(row)),
                (_("Version"), text.one_line(row.version) or NOTHING),
                (_("Started"), moment(row.started_at, row.now, full=True)),
                (_("Last sign of life"), _last_sign(row, full=True)),
                (_("Lease ends"), moment(row.alive_until, row.now, full=True)),
            ],
        }


_LOST = _(
    "It does not renew its lease any more. Its jobs are taken over by another worker of the"
    " connection. This record stays for an hour."
)


def _queues(row: Any) -> str:
    return text.one_line(", ".join(row.queues.split(",")))


def _memory(row: Any) -> str:
    return NOTHING if row.memory is None else filesizeformat(row.memory)


def _last_sign(row: Any, *, full: bool = False) -> SafeString | str:
    try:
        lease = queues[row.connection].driver.lease
    except QueueError:  # a connection that the settings do not have any more
        return NOTHING
    # By the lease that it has here: a worker of other settings may have a longer one.
    passed = max(since(row.alive_until, row.now) + lease, 0.0)
    return moment(row.now - timedelta(seconds=passed), row.now, full=full)


def _life(row: Any) -> SafeString:
    silent = since(row.alive_until, row.now)
    if silent <= 0:
        return pill("alive", gettext("Alive"))
    text = gettext("Lost · lease expired %(span)s ago") % {"span": span(silent)}
    return pill("lost", text)


def _doing(row: Any, site: str) -> SafeString | str:
    """Return what the worker has reported that it runs, and how many jobs its store says it holds:
    those that wait in it for their turn are among them.
    """
    connection = settings().connections.get(row.connection)
    counted = connection is None or connection.jobs_in_sql  # else its store knows, and is not asked
    held = ngettext("%(count)d job", "%(count)d jobs", row.held) % {"count": row.held}
    if since(row.alive_until, row.now) > 0:
        return gettext("held %(jobs)s") % {"jobs": held} if counted else NOTHING
    running = running_jobs(row.running)
    if not running and not (counted and row.held):
        reported = counted or row.version  # which it does a few seconds after its start
        return pill("idle", gettext("Idle")) if reported else NOTHING
    busy = pill("busy", gettext("Busy · %(jobs)s") % {"jobs": held}) if counted else ""
    shown = format_html_join("", "<br>{}", ((_job(job, row, site),) for job in running[:MOST_JOBS]))
    return format_html("{}{}", busy or pill("busy", gettext("Busy")), shown)


def _job(job: Any, row: Any, site: str) -> SafeString:
    """Return a job that runs, with a link to it and since when."""
    name = format_html(
        '<bdi>{}</bdi> <span class="djq-id" dir="ltr">{}</span>',
        text.one_line(job.name, 255),
        text.one_line(ids.short(job.id)),
    )
    url = links.jobs(site, row.connection, q=job.id)
    linked = format_html('<a href="{}">{}</a>', url, name) if url else name
    return format_html("{} · {}", linked, span(max(since(job.since, row.now), 0)))
