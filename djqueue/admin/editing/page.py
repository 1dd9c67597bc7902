"""The two steps of retrying a failed job with other arguments: the form, and what it changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext

from djqueue.admin.base import Page
from djqueue.admin.editing.form import PREFIX, ArgumentsForm
from djqueue.admin.lists.selection import Selection, number
from djqueue.admin.verbs.failed import EDIT
from djqueue.errors import QueueError
from djqueue.operations.describe import MOST_SHOWN
from djqueue.operations.retrying import as_read
from djqueue.operations.verbs.editing import stored
from djqueue.text import printable as text
from djqueue.text.masking import MASK, masked_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.admin import AdminSite
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from djqueue.admin.verbs.verb import Verb
    from djqueue.models import FailedJob
    from djqueue.operations.results import Result
    from djqueue.operations.verbs.editing import Edited

__all__ = ["LONGEST", "url", "view"]

LONGEST = 200
"""Characters of a value in the list of differences."""


class Screen(Protocol):
    """What the page needs of `djqueue.admin.failed.FailedJobAdmin`."""

    opts: Any
    admin_site: AdminSite

    def alias(self, request: HttpRequest) -> str:
        """Return the database that a request is about."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows."""

    def has_view_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may see them."""

    def perform(
        self, request: HttpRequest, verb: Verb, selection: Selection, scope: Mapping[str, Any]
    ) -> Result:
        """Do it, log it, and tell the operator."""


def url(site: str, pk: int) -> str:
    """Return the address of the form."""
    return reverse("admin:djqueue_failedjob_edit_retry", args=[pk], current_app=site)


def view(admin: Screen, request: HttpRequest, pk: str) -> HttpResponse:
    """Show the form; show what it changes when it is sent; retry the job when that is confirmed."""
    if not (admin.has_view_permission(request) and EDIT.allowed(request)):
        raise PermissionDenied
    key = number(pk)
    row = admin.get_queryset(request).filter(pk=key).first() if key is not None else None
    if row is None:  # another operator was faster: who it was is told as of any retry
        admin.perform(request, EDIT, Selection(admin.alias(request), [key or 0], {}), {})
        return HttpResponseRedirect(_list(admin))
    sent = request.POST if request.method == "POST" else None
    if sent is not None and sent.get("seen") != as_read(row):
        words = gettext("The job has failed again since the page was made. This is how it is now.")
        messages.warning(request, words)
        return HttpResponseRedirect(url(admin.admin_site.name, row.pk))
    try:
        form = ArgumentsForm(row, stored(row, MOST_SHOWN), sent)
    except QueueError as error:
        return _page(admin, request, row, {"refused": masked_text(str(error))})
    if sent is None or "again" in sent or not form.is_valid():
        return _page(admin, request, row, {"form": form})
    assert form.edited is not None  # noqa: S101 - it is valid
    if "confirmed" not in sent:
        return _page(admin, request, row, {"form": form, **_differences(request, form.edited)})
    values = {"edited": form.edited.payload, "seen": as_read(row)}
    selection = Selection(admin.alias(request), [row.pk], {}, values=values)
    admin.perform(request, EDIT, selection, {"arguments": sorted(form.edited.changes)})
    there = admin.get_queryset(request).filter(pk=row.pk).exists()
    return HttpResponseRedirect(_change(admin, row) if there else _list(admin))


def _differences(request: HttpRequest, edited: Edited) -> dict[str, Any]:
    """Return what the second step shows, and what it sends again."""
    sent = [
        (name, value)
        for name in request.POST
        if name.startswith(f"{PREFIX}-")
        for value in request.POST.getlist(name)
    ]
    changes = [
        (text.one_line(name), _shown(before), _shown(now))
        for name, (before, now) in edited.changes.items()
    ]
    return {"changes": changes, "sent": sent}


def _shown(value: Any) -> str:
    """Return a JSON value for people, in one line."""
    if value == MASK:
        return MASK
    if isinstance(value, dict) and value.get("$") in _WITH_TEXT:
        value = value.get("k", value.get("v"))
    return text.one_line(json.dumps(value, ensure_ascii=False), LONGEST)


_WITH_TEXT = ("date", "datetime", "time", "decimal", "uuid", "enum", "model")


def _page(
    admin: Screen, request: HttpRequest, row: FailedJob, more: Mapping[str, Any]
) -> HttpResponse:
    name = text.one_line(row.name, 255)
    context = {
        **admin.admin_site.each_context(request),
        "opts": admin.opts,
        "title": gettext("Edit and retry %(job)s") % {"job": name},
        "job": name,
        "original": row,
        "seen": as_read(row),
        "back": _change(admin, row),
        **more,
    }
    request.current_app = admin.admin_site.name
    return Page(request, "admin/djqueue/edit.html", context)


def _change(admin: Screen, row: FailedJob) -> str:
    name = "admin:djqueue_failedjob_change"
    return reverse(name, args=[row.pk], current_app=admin.admin_site.name)


def _list(admin: Screen) -> str:
    name = "admin:djqueue_failedjob_changelist"
    return reverse(name, current_app=admin.admin_site.name)
