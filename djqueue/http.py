"""For ``MIDDLEWARE``: the context that jobs have of the request that dispatches them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from djqueue.context import request_scope

__all__ = ["ContextMiddleware"]

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
