"""What is kept of jobs that have ended, to look at: results, and jobs that are done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy
from django.utils.translation import gettext_lazy as _

from djqueue.admin.base import ReadOnlyAdmin, column, named
from djqueue.admin.contents import EXCEPTIONS_VISIBLE, VISIBLE
from djqueue.admin.lists.words import NOTHING, moment, pill
from djqueue.conf import settings
from djqueue.operations.words import span
from djqueue.payload.encryption import SHOWN, is_encrypted_value
from djqueue.results import asking, rows
from djqueue.text import printable as text
from djqueue.text import short_ids as ids
from djqueue.text.masking import MASK, masked, masked_text

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString


class JobResultAdmin(ReadOnlyAdmin):
    """What is kept of jobs with ``store_result``, newest first."""

    heavy_columns = ("value", "error")
    list_display = ("job", "status_now", "progress", "owner_key", "created", "finished")
    ordering = ("-created_at",)
    actions = None

    def databases(self) -> Mapping[str, Sequence[str]]:
        """Return the database that results are kept in."""
        alias = rows.store() or settings().shared_database
        return {alias: [alias]}

    @admin.display(description=_("job"))
    def job(self, row: Any) -> SafeString:
        """Return its name, and enough of its id to recognise it."""
        return format_html(
            '<bdi>{}</bdi> <span class="djq-id" dir="ltr">{}</span>',
            text.one_line(row.name, 255),
            ids.short(row.id),
        )

    @column(_("status"))
    def status_now(self, row: Any) -> SafeString:
        """Return how the job has ended, or that it has not."""
        return _ended(row)

    @column(_("progress"))
    def progress(self, row: Any) -> str:
        """Return how far the job says that it has come."""
        return _progress(row, with_message=False)

    @column(_("owner"))
    def owner_key(self, row: Any) -> str:
        """Return the key of the user for whom it was dispatched."""
        return text.one_line(row.owner) or NOTHING

    @column(_("created"))
    def created(self, row: Any) -> SafeString | str:
        """Return the time of its dispatch."""
        return moment(row.created_at, timezone.now())

    @column(_("finished"))
    def finished(self, row: Any) -> SafeString | str:
        """Return the time of its end."""
        return moment(row.finished_at, timezone.now())

    def title(self, row: Any) -> str:
        """Return the job's name and id."""
        return text.one_line(row)

    def detail(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return all that is kept. Value and message are for those who may see such."""
        now, user = timezone.now(), request.user
        visible = user.has_perm(VISIBLE)
        facts = [
            (_("Id"), row.id),
            (_("Job"), text.one_line(row.name, 255)),
            (_("Queue"), text.one_line(row.queue)),
            (_("Connection"), text.one_line(row.connection)),
            (_("Owner"), text.one_line(row.owner) or NOTHING),
            (_("Progress"), _progress(row, with_message=visible)),
            (_("Created"), moment(row.created_at, now, full=True)),
            (_("Finished"), moment(row.finished_at, now, full=True)),
            (_("Kept until"), moment(row.keep_until, now, full=True)),
        ]
        if row.value:
            facts.append((_("Value"), _value(row.value) if visible else MASK))
        if row.error:
            seen = user.has_perm(EXCEPTIONS_VISIBLE)
            facts.append(
                (_("Error"), text.one_line(masked_text(row.error), LONG) if seen else MASK)
            )
        return {"pill": _ended(row), "facts": facts}


class FinishedJobAdmin(ReadOnlyAdmin):
    """Jobs that were done a short while ago, newest first."""

    list_display = ("job", "place", "attempts", "took", "finished")
    list_display_links = None
    ordering = ("-id",)
    actions = None

    def databases(self) -> Mapping[str, Sequence[str]]:
        """Return the database that they are kept in."""
        alias = settings().job_database
        return {alias: [alias]}

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Return none where no jobs are kept, so that the admin does not name the list."""
        return super().get_model_perms(request) if settings().keep_done else {}

    @admin.display(description=_("job"))
    def job(self, row: Any) -> SafeString:
        """Return its name, and enough of its id to recognise it."""
        return named(row)

    @column(_("queue"))
    def place(self, row: Any) -> SafeString:
        """Return its queue, and the connection."""
        return format_html(
            '{} <span class="djq-under">{}</span>',
            text.one_line(row.queue),
            text.one_line(row.connection),
        )

    @column(_("took"))
    def took(self, row: Any) -> str:
        """Return how long its last attempt took."""
        return span(row.duration)

    @column(_("finished"))
    def finished(self, row: Any) -> SafeString | str:
        """Return the time of its end."""
        return moment(row.finished_at, timezone.now())

    def title(self, row: Any) -> str:
        """Return the job's name and id."""
        return text.one_line(row)

    def detail(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return all that is kept."""
        facts = [
            (_("Id"), row.uuid),
            (_("Job"), text.one_line(row.name, 255)),
            (_("Queue"), text.one_line(row.queue)),
            (_("Connection"), text.one_line(row.connection)),
            (_("Attempts"), row.attempts),
            (_("Took"), span(row.duration)),
            (_("Finished"), moment(row.finished_at, timezone.now(), full=True)),
        ]
        return {"pill": pill(*_ENDS["done"]), "facts": facts}


LONG = 2_000
"""Characters of a value or an error that a page shows."""
_ENDS = {
    "waiting": ("waiting", gettext_lazy("Not ended")),
    "done": ("alive", gettext_lazy("Done")),
    "failed": ("failed", gettext_lazy("Failed")),
    "cancelled": ("cancelled", gettext_lazy("Cancelled")),
}


def _ended(row: Any) -> SafeString:
    kind, label = _ENDS.get(row.status, ("waiting", text.one_line(row.status)))
    return pill(kind, label)


def _progress(row: Any, *, with_message: bool) -> str:
    progress = asking.progress_of(row)
    if progress is None:
        return NOTHING
    said = f"{progress.done:g} / {progress.total:g} ({progress.percent} %)"
    if with_message and progress.message:
        said += f" · {masked_text(progress.message)}"
    return text.one_line(said)


def _value(stored: str) -> str:
    try:
        value = json.loads(stored)
        shown = (
            SHOWN if is_encrypted_value(value) else json.dumps(masked(value), ensure_ascii=False)
        )
    except ValueError:  # it is longer than a page reads
        return text.one_line(masked_text(stored), LONG)
    return text.one_line(shown, LONG)
