"""Jobs and requests: the context that jobs have of the request that dispatches them, and the views
of a job's result, of the metrics and of health.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.db import DatabaseError, connections
from django.db.transaction import non_atomic_requests
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseForbidden,
    JsonResponse,
)
from django.utils.cache import patch_vary_headers
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from djqueue.conf import settings
from djqueue.context import request_scope
from djqueue.dispatch.dispatched import find
from djqueue.errors import QueueError
from djqueue.metrics.exposition import CONTENT_TYPE, exposition
from djqueue.metrics.families import families
from djqueue.operations.reports import health as reports
from djqueue.results import asking
from djqueue.results.asking import JobStatus
from djqueue.results.streams import stream_of

if TYPE_CHECKING:
    from djqueue.models import JobResult

__all__ = ["ContextMiddleware", "health", "metrics", "result"]

logger = logging.getLogger("djqueue")

_NO_METRICS = (
    'Send DJQUEUE["METRICS_TOKEN"] in the header "Authorization: Bearer …", or log in as a user '
    "who may see the overview.\n"
)
_FIT = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}\Z")


class ContextMiddleware:
    """Puts ``user_id`` and ``request_id`` into the context of every request, sync or async.

    Place it after ``AuthenticationMiddleware``. The user is looked up when a job is dispatched or
    ``user_id`` is read; without a user there is no ``user_id``. ``request_id`` is the header
    ``X-Request-ID``, where that has at most 128 letters, digits and ``._:/+=-``, or else a new one.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer `request` within its context."""
        if self._is_async:
            return self._acall(request)
        with _scope_of(request):
            response: HttpResponseBase = self.get_response(request)
        return response

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        with _scope_of(request):
            response: HttpResponseBase = await self.get_response(request)
        return response


def _scope_of(request: HttpRequest) -> AbstractContextManager[None]:
    given = request.headers.get("X-Request-ID", "")
    request_id = given if _FIT.match(given) else secrets.token_hex(16)

    def user_id() -> int | str | None:
        user = getattr(request, "user", None)
        key = None if user is None else user.pk
        return key if key is None or isinstance(key, int) else str(key)

    return request_scope({"request_id": request_id}, {"user_id": user_id})


@require_safe
@cache_control(private=True, no_store=True)
def result(request: HttpRequest, id: UUID) -> HttpResponseBase:
    """Answer with ``id status progress value error finished_at`` of a job whose result is kept, as
    JSON: to its owner alone. To everybody else there is no such job.

    On ASGI, who accepts ``text/event-stream`` is sent the same as events, until the job has ended:
    also of the jobs in ``?also=``, ``unknown`` of others' ones. Where there is no room for another
    such page, the answer is JSON.
    """
    try:
        return _result(request, str(id))
    except QueueError:  # the page comes back later
        return JsonResponse({"error": "The results cannot be read now."}, status=503)


def _result(request: HttpRequest, id: str) -> HttpResponseBase:
    row = asking.read(id)
    user = getattr(request, "user", None)
    if row is None or user is None or not row.owner or row.owner != _key_of(user):
        return JsonResponse({"error": "There is no such job."}, status=404)
    response = stream_of(request, row, _status_of) or JsonResponse(
        asking.shown(row, asking.ended_as(row) or _status_of(row))
    )
    patch_vary_headers(response, ["Accept"])
    return response


def _key_of(user: Any) -> str:
    return str(user.pk) if user.is_authenticated else ""


def _status_of(row: JobResult) -> JobStatus:
    """Return where a job stands that has not ended. A store that is away is no error here."""
    try:
        return find(str(row.id), row.connection).status
    except QueueError:
        return JobStatus.WAITING if row.done is None else JobStatus.RUNNING


@require_safe
@cache_control(private=True, no_store=True)
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with the state of all queues in the text format of Prometheus: to those who send
    ``DJQUEUE["METRICS_TOKEN"]`` as a bearer token, and to users who may see the overview.
    """
    if not _may_see_all(request):
        return HttpResponseForbidden(_NO_METRICS, content_type="text/plain; charset=utf-8")
    try:
        return HttpResponse(exposition(families()), content_type=CONTENT_TYPE)
    except DatabaseError as error:
        logger.warning("The metrics could not be read: %s", error)
        text = "The database does not answer.\n"
        return HttpResponse(text, status=503, content_type="text/plain; charset=utf-8")


@require_safe
@cache_control(private=True, no_store=True)
def health(request: HttpRequest) -> JsonResponse:
    """Answer with 200 and ``{"ok": true}`` if the databases have their tables and the stores
    answer, else with 503, for load balancers. Those who may read the metrics see each check, and
    may ask for the checks of ``queue_health --deep`` with ``?deep``.
    """
    sees_all = _may_see_all(request)
    deep = "deep" in request.GET
    if deep and not sees_all:
        return JsonResponse({"error": _NO_METRICS.strip()}, status=403)
    checks = reports.deep() if deep else reports.ready()
    ok = all(each.ok for each in checks)
    answer: dict[str, object] = {"ok": ok}
    if sees_all:
        answer["checks"] = [each._asdict() for each in checks]
    return JsonResponse(answer, status=200 if ok else 503)


for _alias in connections:
    for _view in (result, metrics, health):
        non_atomic_requests(_alias)(_view)


def _may_see_all(request: HttpRequest) -> bool:
    token = settings().metrics_token
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    if token and kind.lower() == "bearer" and constant_time_compare(given.strip(), token):
        return True
    user = getattr(request, "user", None)
    try:
        return user is not None and user.has_perm("djqueue.view_overview")
    except DatabaseError:  # who it is cannot be asked
        return False
