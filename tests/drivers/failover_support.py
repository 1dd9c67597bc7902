"""Connections that fail over, before a Redis that can be made to fail."""

from __future__ import annotations

import uuid
from typing import Any

from tests.services import Redis
from tests.services.proxy import Proxy


def djqueue(redis: Redis | Proxy, **resilient: Any) -> dict[str, Any]:
    """`resilient` passes on to `redis`, then to `database`."""
    url = f"redis://{redis.host}:{redis.port}/0"
    prefix = f"test-{uuid.uuid4().hex}"
    return {
        "DEFAULT": "resilient",
        "CONNECTIONS": {
            "resilient": {
                "DRIVER": "failover",
                "CONNECTIONS": ["redis", "database"],
                "PROBE_AFTER": 0.3,
                **resilient,
            },
            "redis": {"DRIVER": "redis", "URL": url, "PREFIX": prefix, "TIMEOUT": 0.5},
            "database": {"DRIVER": "database"},
            "sync": {"DRIVER": "sync"},
            "deferred": {"DRIVER": "deferred"},
        },
    }
