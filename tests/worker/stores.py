"""Connections to the stores beside the database, for tests with real workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.torture.kills import LEASE

STORES = ("redis", "cluster", "beanstalkd")


def settings_of(store: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """`DJQUEUE` with one connection, called `store`, on a server of this run."""
    return {"DEFAULT": "store", "CONNECTIONS": {"store": _MAKERS[store](request)}}


def _redis(request: pytest.FixtureRequest) -> dict[str, Any]:
    server = request.getfixturevalue("redis_aof_server")
    return {"DRIVER": "redis", "URL": server.url, "PREFIX": _prefix(), "RETRY_AFTER": LEASE}


def _cluster(request: pytest.FixtureRequest) -> dict[str, Any]:
    cluster = request.getfixturevalue("redis_cluster")
    url = f"redis://{cluster.nodes[0].host}:{cluster.nodes[0].port}"
    return {
        "DRIVER": "redis",
        "URL": url,
        "CLUSTER": True,
        "PREFIX": _prefix(),
        "RETRY_AFTER": LEASE,
    }


def _beanstalkd(request: pytest.FixtureRequest) -> dict[str, Any]:
    server = request.getfixturevalue("beanstalkd_binlog_server")
    return {
        "DRIVER": "beanstalkd",
        "HOST": server.host,
        "PORT": server.port,
        "RETRY_AFTER": 10,
    }


def _prefix() -> str:
    import uuid

    return f"test-{uuid.uuid4().hex}"


_MAKERS: dict[str, Callable[[pytest.FixtureRequest], dict[str, Any]]] = {
    "redis": _redis,
    "cluster": _cluster,
    "beanstalkd": _beanstalkd,
}
