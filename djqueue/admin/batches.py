"""Batches: how far they are, and on the page of one to cancel, to close or to retry it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.models import CHANGE
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext, ngettext_lazy, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from djqueue.admin.base import column
from djqueue.admin.lists.words import moment, pill
from djqueue.admin.operator import OperatorAdmin
from djqueue.admin.outcome import Wording, plural
from djqueue.admin.verbs.verb import Verb
from djqueue.composition.ended import Turn
from djqueue.conf import settings
from djqueue.operations import batches
from djqueue.operations.results import Reason, Result, Target, one_by_one
from djqueue.text import printable as text
from djqueue.text import short_ids as ids

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString

    from djqueue.admin.lists.selection import Key, Selection
    from djqueue.models import JobBatch

_ID = re.compile(r"[0-9a-f-]{1,36}\Z")


OVER = Reason(
    _("it is finished, or was cancelled before."), _("they are finished, or were cancelled before.")
)
CLOSED = Reason(
    _("it takes no more members."),
    _("they take no more members."),
)
NONE_FAILED = Reason(_("none of its jobs has failed."), _("none of their jobs has failed."))


def _each(act: Callable[[JobBatch], bool], otherwise: Reason) -> Callable[[Selection], Result]:
    """Return a function that does something to each batch; `act` says whether it changed it."""

    def apply(selection: Selection) -> Result:
        rows = filter(None, (batches.named(str(key)) for key in selection.keys))
        found = ((Target("", "", row.pk, row.name), row) for row in rows)
        return one_by_one(len(selection.keys), found, lambda _, row: act(row), otherwise)

    return apply


CANCEL = Verb(
    name="cancel",
    label=pgettext_lazy("batch", "Cancel"),
    permissions=("djqueue.cancel_jobbatch",),
    apply=_each(lambda batch: bool(batch.cancel()), OVER),
    commits=True,
    wording=Wording(
        plural(ngettext_lazy("Cancelled %(count)d batch", "Cancelled %(count)d batches", "count")),
        plural(
            ngettext_lazy(
                "%(count)d batch was not cancelled", "%(count)d batches were not cancelled", "count"
            )
        ),
    ),
    flag=CHANGE,
    offered=lambda row: not row.cancelled and not row.finished,
    question=_("Its jobs that wait end without being run. Those that run go on."),
    destructive=True,
)
CLOSE = Verb(
    name="close",
    label=pgettext_lazy("batch", "Close"),
    permissions=("djqueue.cancel_jobbatch",),
    apply=_each(lambda batch: batches.close(batch.pk), CLOSED),
    commits=True,
    wording=Wording(
        plural(ngettext_lazy("Closed %(count)d batch", "Closed %(count)d batches", "count")),
        plural(
            ngettext_lazy(
                "%(count)d batch was not closed", "%(count)d batches were not closed", "count"
            )
        ),
    ),
    flag=CHANGE,
    offered=lambda row: row.open_until is not None,
    question=_(
        "It takes no more members, and finishes when those that it has are settled. Close it only"
        " if the process that dispatched it is gone."
    ),
)
RETRY = Verb(
    name="retry",
    label=_("Retry failed jobs"),
    permissions=("djqueue.retry_jobbatch",),
    apply=_each(lambda batch: batch.retry_failed() > 0, NONE_FAILED),
    commits=True,
    wording=Wording(
        plural(
            ngettext_lazy(
                "Retried the failed jobs of %(count)d batch",
                "Retried the failed jobs of %(count)d batches",
                "count",
            ),
        ),
        plural(
            ngettext_lazy(
                "%(count)d batch is as it was", "%(count)d batches are as they were", "count"
            )
        ),
    ),
    flag=CHANGE,
    offered=lambda row: row.failed_jobs > 0,
)


class JobBatchAdmin(OperatorAdmin):
    """Batches, newest first."""

    verbs = (CANCEL, CLOSE, RETRY)
    heavy_columns = ("failed_job_ids", "stored_options")
    list_display = ("batch", "status", "settled", "created", "finished")
    ordering = ("-created_at",)
    actions = None

    def key(self, request: HttpRequest, given: str) -> Key | None:
        """Return the id of a batch that a form or an address names."""
        return given if _ID.match(given) else None

    def databases(self) -> Mapping[str, Sequence[str]]:
        """Return the database that batches are kept in."""
        alias = settings().shared_database
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
            **super().detail(request, row),
            "pill": _state(row),
            "facts": [
                (_("Id"), text.one_line(row.id)),
                (_("Jobs"), _settled(row)),
                (_("Failed"), row.failed_jobs),
                (_("Created"), moment(row.created_at, now, full=True)),
                (_("Finished"), moment(row.finished_at, now, full=True)),
                (_("Cancelled"), moment(row.cancelled_at, now, full=True)),
                *([(_("Reason"), text.one_line(row.reason))] if row.reason else []),
            ],
        }


def _state(row: Any) -> SafeString:
    if row.cancelled_at is not None:
        return pill("cancelled", gettext("Cancelled"))
    if row.turn == Turn.WAITS:
        return pill("delayed", gettext("Waits for its turn"))
    if row.open_until is not None:
        return pill("reserved", gettext("Open"))
    if not row.finished:
        return pill("reserved", gettext("In progress"))
    if row.failed_jobs:
        return pill("failed", gettext("Finished with failures"))
    return pill("alive", gettext("Finished"))


def _settled(row: Any) -> str:
    settled = row.total_jobs - row.pending_jobs
    text = gettext("%(settled)d of %(total)d") % {"settled": settled, "total": row.total_jobs}
    text = f"{text} ({row.progress} %)"
    if not row.failed_jobs:
        return text
    failed = ngettext("%(count)d failed", "%(count)d failed", row.failed_jobs)
    return f"{text}, {failed % {'count': row.failed_jobs}}"
