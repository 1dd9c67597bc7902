"""Checks of middleware and of limits."""

from __future__ import annotations

import pytest

from djqueue import job
from djqueue.jobs import registry
from djqueue.middleware import RateLimited

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}


@pytest.mark.parametrize(
    "path", ["tests.nowhere.audit", "tests.app.no_such", "builtins.memoryview", "sys.maxsize"]
)
def test_a_middleware_that_cannot_be(messages, path):
    (message,) = messages({"MIDDLEWARE": [path]})
    assert message.id == "djqueue.E025"
    assert path in message.msg


def test_a_middleware_that_can(messages):
    assert messages({"MIDDLEWARE": ["tests.middleware.jobs.Note"]}) == []


def test_limits_in_a_cache_that_cannot_keep_them(messages, settings):
    settings.CACHES = {"default": LOCMEM, "queue": {"BACKEND": "django_redis.cache.RedisCache"}}
    (unknown,) = messages({"LIMITS": {"CACHE": "queu"}})
    assert (unknown.id, 'Did you mean "queue"?' in unknown.hint) == ("djqueue.E024", True)
    assert [one.id for one in messages({"LIMITS": {"CACHE": "default"}})] == ["djqueue.E024"]
    assert messages({"LIMITS": {"CACHE": "queue"}}) == []


def test_limits_in_two_places(ids):
    assert "djqueue.E023" in ids({"LIMITS": {"CACHE": "default", "DATABASE": "default"}})


def test_limits_in_a_database_that_is_none(ids):
    assert ids({"LIMITS": {"DATABASE": "defualt"}}) == ["djqueue.E007"]


def test_a_limit_that_is_not_defined(messages):
    @job(name="tests.checks_limited", middleware=[RateLimited("tests.tin")])
    def limited() -> None:
        pass

    try:
        (message,) = messages({})
    finally:
        registry.unregister("tests.checks_limited")
    assert message.id == "djqueue.E026"
    assert 'Did you mean "tests.ten"?' in message.hint
