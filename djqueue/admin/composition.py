"""Batches, to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from djqueue.admin.base import ReadOnlyAdmin, column
from djqueue.admin.lists.words import moment, pill
from djqueue.conf import settings
from djqueue.text import printable as text
from djqueue.text import short_ids as ids

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString


class JobBatchAdmin(ReadOnlyAdmin):
    """Batches, newest first."""

    heavy_columns = ("failed_job_ids", "stored_options")
    list_display = ("batch", "status", "settled", "created", "finished")
    ordering = ("-created_at",)
    actions = None

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return False, so that batches are no screen: nothing makes a batch yet."""
        return False

    def databases(self) -> Mapping[str, Sequence[str]]:
        """Return the database that batches are kept in."""
        alias = settings().batches
        return {alias: [alias]}

    @admin.display(description=_("batch"))
    def batch(self, row: Any) -> SafeString:
        """Return its name, and enough of its id to recognise it."""
        return format_html(
            '<bdi>{}</bdi> <span class="djq-id" dir="ltr">{}</span>',
            text.one_line(row.name),
            text.one_line(ids.short(row.id)),
        )

    @column(_("state"))
    def status(self, row: Any) -> SafeString:
        """Return its state."""
        return _state(row)

    @column(_("jobs"))
    def settled(self, row: Any) -> str:
        """Return the number of its jobs that have been settled."""
        return _settled(row)

    @column(_("created"))
    def created(self, row: Any) -> SafeString | str:
        """Return the time of its dispatch."""
        return moment(row.created_at, timezone.now())

    @column(_("finished"))
    def finished(self, row: Any) -> SafeString | str:
        """Return the time at which its last job was settled."""
        return moment(row.finished_at, timezone.now())

    def title(self, row: Any) -> str:
        """Return its name, or its id if it has none."""
        return text.one_line(row)

    def detail(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return its numbers."""
        now = timezone.now()
        return {
            "pill": _state(row),
            "facts": [
                (_("Id"), text.one_line(row.id)),
                (_("Jobs"), _settled(row)),
                (_("Failed"), row.failed_jobs),
                (_("Created"), moment(row.created_at, now, full=True)),
                (_("Finished"), moment(row.finished_at, now, full=True)),
                (_("Cancelled"), moment(row.cancelled_at, now, full=True)),
            ],
        }


def _state(row: Any) -> SafeString:
    if row.cancelled_at is not None:
        return pill("cancelled", gettext("Cancelled"))
    if row.finished_at is None:
        return pill("reserved", gettext("In progress"))
    if row.failed_jobs:
        return pill("failed", gettext("Finished with failures"))
    return pill("alive", gettext("Finished"))


def _settled(row: Any) -> str:
    settled = row.total_jobs - row.pending_jobs
    text = gettext("%(settled)d of %(total)d") % {"settled": settled, "total": row.total_jobs}
    if not row.failed_jobs:
        return text
    failed = ngettext("%(count)d failed", "%(count)d failed", row.failed_jobs)
    return f"{text}, {failed % {'count': row.failed_jobs}}"
