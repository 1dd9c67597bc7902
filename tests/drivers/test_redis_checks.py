"""The system checks of a Redis connection's settings."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from django.test import override_settings

from djqueue.checks.connections import check_values
from djqueue.conf import ConnectionSettings
from djqueue.drivers.redis import RedisDriver
from djqueue.errors import ConfigurationError

QUEUE = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://redis:6379/1"}
DEFAULT = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://redis:6379/0"}


def problems(**options: Any) -> list[tuple[str, str]]:
    settings = ConnectionSettings("redis", "redis", options=options)
    found = check_values(settings, RedisDriver)
    assert all(message.hint for message in found)
    return [(str(message.id), str(message.msg)) for message in found]


@pytest.fixture(autouse=True)
def _caches():
    with override_settings(CACHES={"default": DEFAULT, "queue": QUEUE}):
        yield


@pytest.mark.parametrize(
    "options",
    [
        {"URL": "redis://redis:6379/2"},
        {"URL": "rediss://user:secret@redis/2"},
        {"URL": "unix:///run/redis.sock?db=2"},
        {"CACHE": "queue"},
        {"URL": "redis://redis:7000", "CLUSTER": True},
        {"URL": ["redis://one:7000", "redis://two:7000"], "CLUSTER": True},
    ],
)
def test_these_are_fine(options):
    assert problems(**options) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, 'has neither "URL" nor "CACHE"'),
        ({"URL": "redis://redis/1", "CACHE": "queue"}, 'has both "URL" and "CACHE"'),
        ({"CACHE": "queue", "CLUSTER": True}, "django-redis has no cluster client"),
        ({"URL": ["redis://redis/1"]}, 'is a list, but "CLUSTER" is not set'),
    ],
)
def test_a_contradiction_is_told(options, words):
    ((id, message),) = problems(**options)
    assert id == "djqueue.E030"
    assert words in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("URL", "redis.example.com:6379"),
        ("URL", 5),
        ("CACHE", 5),
        ("CLUSTER", "yes"),
        ("PREFIX", "a{b}"),
        ("PREFIX", ""),
        ("BLOCK_FOR", 0),
        ("TIMEOUT", "long"),
        ("WINDOW", 5000),
        ("ALLOW_EVICTION", 1),
        ("ALLOW_SHARED_CACHE", None),
    ],
)
def test_a_value_of_the_wrong_kind_is_told(key, value):
    options = {"URL": "redis://redis/2", key: value}
    ((id, message),) = problems(**options)
    assert id == "djqueue.E003"
    assert f'DJQUEUE["CONNECTIONS"]["redis"]["{key}"]' in message


def test_a_password_in_a_url_is_not_shown():
    ((_, message),) = problems(URL="http://user:secret@redis/1")
    assert "secret" not in message


def test_a_cache_that_is_not_there_is_told():
    ((id, message),) = problems(CACHE="jobs")
    assert id == "djqueue.E031"
    assert 'names the cache "jobs", which is not in CACHES' in message


@pytest.mark.parametrize(
    "backend",
    ["django.core.cache.backends.redis.RedisCache", "django.core.cache.backends.dummy.DummyCache"],
)
def test_a_cache_of_another_package_is_told(backend):
    with override_settings(CACHES={"queue": {**QUEUE, "BACKEND": backend}}):
        ((id, message),) = problems(CACHE="queue")
    assert id == "djqueue.E031"
    assert "which is not django-redis" in message


def test_a_sharded_cache_is_told():
    sharded = {**QUEUE, "OPTIONS": {"CLIENT_CLASS": "django_redis.client.ShardClient"}}
    with override_settings(CACHES={"queue": sharded}):
        ((id, message),) = problems(CACHE="queue")
    assert id == "djqueue.E031"
    assert "ShardClient" in message


def test_the_default_cache_is_no_place_for_jobs():
    ((id, message),) = problems(CACHE="default")
    assert id == "djqueue.E032"
    assert "cache.clear() would delete them all" in message
    assert problems(CACHE="default", ALLOW_SHARED_CACHE=True) == []


@pytest.mark.parametrize(
    "location",
    [
        "redis://redis:6379/1",
        "redis://redis/1",
        "redis://redis:6379?db=1",
        "rediss://user:secret@redis:6379/1",
        ["redis://redis:6379/1", "redis://replica:6379/1"],
    ],
)
@pytest.mark.parametrize(
    "backend",
    ["django_redis.cache.RedisCache", "django.core.cache.backends.redis.RedisCache"],
)
def test_a_database_that_another_cache_uses_is_no_place_for_jobs(location, backend):
    other = {"BACKEND": backend, "LOCATION": location}
    with override_settings(CACHES={"default": DEFAULT, "queue": QUEUE, "pages": other}):
        for options in ({"CACHE": "queue"}, {"URL": "redis://redis:6379/1"}):
            id, message = problems(**options)[0]
            assert id == "djqueue.E032"
            assert 'where the cache "' in message
            assert problems(**options, ALLOW_SHARED_CACHE=True) == []


def test_another_database_of_the_same_server_is_fine():
    assert problems(URL="redis://redis:6379/2") == []


def test_this_machine_has_several_names():
    local = {**DEFAULT, "LOCATION": "redis://127.0.0.1:6379/3"}
    with override_settings(CACHES={"default": local}):
        ((id, _),) = problems(URL="redis://localhost/3")
    assert id == "djqueue.E032"


UNREADABLE = [
    "redis://user:S3cretPW#x@127.0.0.1/0",
    "redis://user:S3cret/PW@127.0.0.1/0",
    "redis://user:123/S3cretPW@127.0.0.1/0",
    "redis://user:S3cret?PW@127.0.0.1/0",
    "redis://user:S3cret[PW@127.0.0.1/0",
    "rediss://:S3cretPW#@127.0.0.1:6379",
    "redis://127.0.0.1:S3cretPW/0",
]


@pytest.mark.parametrize("url", UNREADABLE)
def test_a_url_that_cannot_be_read_is_told_without_a_word_of_it(url):
    ((id, message),) = problems(URL=url)
    assert id == "djqueue.E003"
    assert message == 'DJQUEUE["CONNECTIONS"]["redis"]["URL"] cannot be read.'
    assert problems(URL=[url], CLUSTER=True) == [(id, message)]
    with pytest.raises(ConfigurationError, match="as %23 %2F %3F %40") as caught:
        RedisDriver(ConnectionSettings("redis", "redis", options={"URL": url}))
    told = "".join(traceback.format_exception(caught.value))
    assert "S3cret" not in told
    assert "PW" not in told


@pytest.mark.parametrize("url", UNREADABLE)
def test_the_url_of_a_cache_is_no_more_told_than_ours(url):
    bad = {**QUEUE, "LOCATION": url}
    with override_settings(CACHES={"default": DEFAULT, "queue": bad}):
        assert problems(URL="redis://redis:6379/2") == []
        ((id, message),) = problems(CACHE="queue")
    assert id == "djqueue.E031"
    where = 'The cache "queue" of DJQUEUE["CONNECTIONS"]["redis"]'
    assert message == f"{where} has a LOCATION that cannot be read."


def test_a_password_that_is_escaped_may_have_any_character():
    url = "redis://user:a%23b%2Fc%40d%3F%25@127.0.0.1:6390/2"
    assert problems(URL=url) == []
    driver = RedisDriver(ConnectionSettings("redis", "redis", options={"URL": url}))
    assert driver._store.connections()[0]._make().password == "a#b/c@d?%"
