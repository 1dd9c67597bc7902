"""The answer to a page that accepts events: a stream, where there is room for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from djqueue.conf import settings
from djqueue.results import asking, pages
from djqueue.results.asking import JobStatus
from djqueue.results.watch import State, state_of, state_or_unknown, unknown

if TYPE_CHECKING:
    from djqueue.models import JobResult

__all__ = ["stream_of"]

_EVENTS = "text/event-stream"
_StatusOf = Callable[["JobResult"], JobStatus]


def stream_of(
    request: HttpRequest, row: JobResult, status_of: _StatusOf
) -> HttpResponseBase | None:
    """Return the stream of a page of the owner of `row`; None where it is not asked for, or there
    is no room. `status_of` asks the store of a job: the first event of each says the same as JSON.
    """
    accepts = _EVENTS in request.headers.get("Accept", "")
    if not isinstance(request, ASGIRequest) or request.method != "GET" or not accepts:
        return None
    if request.headers.get("Last-Event-ID") == pages.END:
        return HttpResponse(status=204)  # an EventSource does not come back then
    page = pages.Page(row.owner)
    if not pages.room.admit(page, settings().streams):
        return None
    try:
        _begin(page, row, _others(request, row), status_of)
    except BaseException:
        pages.room.leave(page)  # the error may keep it for a while
        raise
    headers = {
        "Cache-Control": "no-transform",
        "Content-Encoding": "identity",  # packed events are held back
        "X-Accel-Buffering": "no",
    }
    return StreamingHttpResponse(page, content_type=_EVENTS, headers=headers)


def _begin(page: pages.Page, row: JobResult, others: list[str], status_of: _StatusOf) -> None:
    found = asking.read_some(others)
    first, known = {}, {}
    for id in [str(row.pk), *others]:
        each = row if id == str(row.pk) else found.get(id)
        if each is None or each.owner != row.owner:
            first[id] = unknown(id)
            continue
        known[id] = state_or_unknown(each)
        first[id] = known[id] if known[id].has_ended else _first_state(each, status_of)
    page.begin_with(first, known)


def _first_state(row: JobResult, status_of: _StatusOf) -> State:
    status = status_of(row)
    if status in asking.FINAL:  # since the row was read
        row = asking.read(str(row.pk)) or row
    return state_of(row, status)


def _others(request: HttpRequest, row: JobResult) -> list[str]:
    """Return the ids of the other jobs that a page asks for."""
    given = [_uuid(text) for text in request.GET.getlist("also")[: pages.JOBS - 1]]
    return [id for id in dict.fromkeys(given) if id not in ("", str(row.pk))]


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        return ""
