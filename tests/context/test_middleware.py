"""``djqueue.http.ContextMiddleware``: who asked, in which request."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpResponse
from django.test import RequestFactory

from djqueue import context
from djqueue.http import ContextMiddleware


def answer(view, user=None, **headers):
    request = RequestFactory().get("/", headers=headers)
    if user is not None:
        request.user = user
    return ContextMiddleware(view)(request)


def test_a_view_has_the_user_and_the_request():
    seen = []

    def view(request):
        context.add("own", 1)
        seen.append(context.values())
        request.user = AnonymousUser()  # as after a logout
        seen.append(context.values())
        return HttpResponse()

    answer(view, User(pk=7), **{"X-Request-ID": "abc-1"})
    assert seen == [
        {"user_id": 7, "request_id": "abc-1", "own": 1},
        {"request_id": "abc-1", "own": 1},
    ]
    assert context.values() == {}


def test_a_coroutine_has_them_too():
    async def view(request):
        await asyncio.sleep(0)
        return await sync_to_async(context.get)("user_id")

    assert asyncio.run(answer(view, User(pk=7))) == 7
    assert context.values() == {}


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ü", "a;b", "a\x00"])
def test_a_request_id_that_could_forge_a_line_is_replaced(given):
    seen = []
    answer(lambda request: seen.append(context.get("request_id")), **{"X-Request-ID": given})
    assert len(seen[0]) == 32


def test_without_users_there_is_the_request():
    seen = []
    answer(lambda request: seen.append(sorted(context.values())))
    assert seen == [["request_id"]]
