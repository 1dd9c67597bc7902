"""Connections that fail over, and the jobs that are sent to them."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

from djqueue import job
from tests.services import Redis
from tests.services.proxy import Proxy

ran: Counter[int] = Counter()


@job(name="test.failover.count")
def count(number: int) -> None:
    ran[number] += 1
    if number < 0:
        raise ValueError("a negative number")


@job(name="test.failover.pass_on")
def pass_on(number: int) -> None:
    count.dispatch(number)


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
