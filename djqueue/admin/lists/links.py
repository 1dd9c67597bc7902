"""The addresses of lists, filtered so that they show what a page speaks of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import QueryDict
from django.urls import NoReverseMatch, reverse

from djqueue.admin.lists.filters import CONNECTION, DATABASE
from djqueue.conf import settings
from djqueue.drivers.base import State

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["failed_jobs", "jobs", "listed"]


def listed(site: str, model: str, filters: Mapping[str, str]) -> str:
    """Return the address of a model's list; an empty text where `site` does not have the model."""
    try:
        url = reverse(f"admin:djqueue_{model}_changelist", current_app=site)
    except NoReverseMatch:
        return ""
    query = QueryDict(mutable=True)
    query.update({name: value for name, value in filters.items() if value})
    return f"{url}?{query.urlencode()}" if query else url


def jobs(
    site: str, connection: str, queue: str = "", state: State | None = None, q: str = ""
) -> str:
    """Return the address of the jobs of a connection: of one queue or state, or those that a search
    for `q` finds, if given.
    """
    known = settings().connections.get(connection)
    if known is None or known.jobs_in_sql:
        where = {DATABASE: known.database if known else ""}
    else:
        where = {CONNECTION: connection}
    word = "" if state is None else "running" if state is State.RESERVED else state.value
    return listed(site, "queuedjob", {**where, "queue": queue, "state": word, "q": q})


def failed_jobs(site: str, **filters: str) -> str:
    """Return the address of the failed jobs that fit `filters`."""
    return listed(site, "failedjob", filters)
