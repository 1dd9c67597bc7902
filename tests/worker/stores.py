"""Connections to the stores beside the database, for tests with real workers."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.torture.kills import LEASE
from tests.torture.sizes import STORE

ASKED_FOR = os.environ.get(STORE)
"""The one store of a long run; None in the test suite."""


def settings_of(store: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """`DJQUEUE` with one connection, called `store`, on a server of this run."""
    return {"DEFAULT": "store", "CONNECTIONS": {"store": connection_to(store, request)}}


def connection_to(store: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of a connection to a server of this run, with nothing in its queue."""
    return _MAKERS[store](request)


def _redis(request: pytest.FixtureRequest) -> dict[str, Any]:
    server = request.getfixturevalue("redis_aof_server")
    return {"DRIVER": "redis", "URL": server.url, "PREFIX": _name(), "RETRY_AFTER": LEASE}


def _cluster(request: pytest.FixtureRequest) -> dict[str, Any]:
    cluster = request.getfixturevalue("redis_cluster")
    return {
        "DRIVER": "redis",
        "URL": cluster.nodes[0].url,
        "CLUSTER": True,
        "PREFIX": _name(),
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


def _sqs(request: pytest.FixtureRequest) -> dict[str, Any]:
    import boto3

    server = request.getfixturevalue("sqs_server")
    boto = boto3.client("sqs", endpoint_url=server.url)
    return {
        "DRIVER": "sqs",
        "URLS": {"default": boto.create_queue(QueueName=_name())["QueueUrl"]},
        "ENDPOINT_URL": server.url,
        "REGION": server.region,
        "RETRY_AFTER": LEASE,
    }


def _name() -> str:
    return f"test-{uuid.uuid4().hex}"


_MAKERS: dict[str, Callable[[pytest.FixtureRequest], dict[str, Any]]] = {
    "redis": _redis,
    "cluster": _cluster,
    "beanstalkd": _beanstalkd,
    "sqs": _sqs,
}
