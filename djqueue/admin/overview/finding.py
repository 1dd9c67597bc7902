"""One job, wherever it is now: waiting, parked, failed, or ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

from djqueue.admin.contents import EXCEPTIONS_VISIBLE
from djqueue.admin.lists import links
from djqueue.admin.lists.filters import DATABASE
from djqueue.admin.overview.reading import WITHIN
from djqueue.errors import QueueError
from djqueue.operations.reports.finding import why
from djqueue.operations.reports.why import Where
from djqueue.text import printable as text
from djqueue.text.masking import masked_text

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin

    from djqueue.operations.reports.why import Why

    User = AbstractBaseUser | AnonymousUser | PermissionsMixin

__all__ = ["FoundJob", "address", "find", "may_find"]

_SEEN_BY = {
    Where.STORE: "djqueue.view_queuedjob",
    Where.OUTBOX: "djqueue.view_queuedjob",
    Where.FAILED: "djqueue.view_failedjob",
    Where.RESULTS: "djqueue.view_jobresult",
    Where.FINISHED: "djqueue.view_finishedjob",
}


class FoundJob(NamedTuple):
    """What the page says of a job."""

    error: str = ""
    """Why none is shown."""
    name: str = ""
    id: str = ""
    answer: str = ""
    remedy: str = ""
    url: str = ""
    """Its page, or the list that has it."""


def address(site: str, id: str) -> str:
    """Return the address of the page that says where a job is now; an empty text where `site` has
    no overview.
    """
    try:
        page = reverse("admin:djqueue_overview_find", current_app=site)
    except NoReverseMatch:
        return ""
    return f"{page}?{urlencode({'q': id})}"


def may_find(user: User) -> bool:
    """Return whether the user may open that page."""
    may: bool = user.has_perm("djqueue.view_overview")  # type: ignore[union-attr]
    return may


def find(site: str, user: User, asked: str) -> FoundJob:
    """Look for the job whose id is `asked`, or begins or ends with it, wherever the user may see
    jobs.
    """
    errors = user.has_perm(EXCEPTIONS_VISIBLE)  # type: ignore[union-attr]
    may = [where for where, which in _SEEN_BY.items() if user.has_perm(which)]  # type: ignore[union-attr]
    try:
        found = why(asked, errors=errors, places=may, within=WITHIN)
    except QueueError as error:
        return FoundJob(text.one_line(masked_text(str(error)), 1000))
    return FoundJob(
        "",
        text.one_line(found.name, 255),
        found.id,
        found.answer,
        found.remedy,
        _page(site, found),
    )


def _page(site: str, found: Why) -> str:
    if found.where is Where.STORE:
        return links.jobs(site, found.place, q=found.id)
    if found.where is Where.FAILED:
        return links.failed_jobs(site, q=found.id)
    model, key = {
        Where.OUTBOX: ("outbox", found.row),
        Where.RESULTS: ("jobresult", found.id),
        Where.FINISHED: ("finishedjob", None),
    }[found.where]
    if key is None:
        return links.listed(site, model, {})
    try:
        page = reverse(f"admin:djqueue_{model}_change", args=[key], current_app=site)
    except NoReverseMatch:
        return ""
    if found.where is Where.OUTBOX:
        return f"{page}?{urlencode({'_changelist_filters': f'{DATABASE}={found.place}'})}"
    return page
