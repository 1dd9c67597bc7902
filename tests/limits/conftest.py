from __future__ import annotations

import pytest
from django.test import override_settings

from djqueue.limits.store import store


@pytest.fixture(params=["database", pytest.param("redis", marks=pytest.mark.redis)])
def limits(request, transactional_db):
    """The store of limits: the database under test, and Redis."""
    if request.param == "database":
        yield store()
        return
    server = request.getfixturevalue("redis_server")
    url = f"redis://127.0.0.1:{server.port}/7"
    caches = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "limits": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url},
    }
    with override_settings(CACHES=caches, DJQUEUE={"LIMITS": {"CACHE": "limits"}}):
        from django_redis import get_redis_connection

        get_redis_connection("limits").flushdb()
        yield store()
