"""After anything, at rest, each dispatched job is in exactly one place.

`python -m tests.torture` makes the runs long, with other seeds.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from django.db import connection

from djqueue import queues
from tests import databases, services
from tests.services.proxy import Proxy
from tests.torture import troubles
from tests.torture.sizes import ROUNDS, SEED, STORE, size
from tests.torture.troubles import Scene

pytestmark = [pytest.mark.scenario, pytest.mark.wallclock]

LEASE = 3.0


def database_settings(port: int) -> dict[str, Any]:
    """`DATABASES` of workers that reach the database under test on another port."""
    mine = {key: value for key, value in connection.settings_dict.items() if key != "TEST"}
    return {"default": {**mine, "PORT": str(port)}}


@pytest.fixture
def database(settings, transactional_db):
    settings.DJQUEUE = {"CONNECTIONS": {"database": {"DRIVER": "database", "RETRY_AFTER": LEASE}}}
    if databases.vendor() == "sqlite":
        yield Scene("database", LEASE, file=str(connection.settings_dict["NAME"]))
        return
    with Proxy(int(connection.settings_dict["PORT"])) as proxy:
        overrides = {"DATABASES": database_settings(proxy.port)}
        yield Scene("database", LEASE, proxy, overrides=overrides)


@pytest.fixture
def redis(settings, transactional_db):
    with services.Redis(aof="always") as server, Proxy(server.port) as proxy:
        place = {"DRIVER": "redis", "RETRY_AFTER": LEASE, "TIMEOUT": 1}

        def told(port: int) -> dict[str, Any]:
            url = f"redis://127.0.0.1:{port}/0"
            return {"DEFAULT": "redis", "CONNECTIONS": {"redis": {**place, "URL": url}}}

        settings.DJQUEUE = told(server.port)
        yield Scene("redis", LEASE, proxy, server, overrides={"DJQUEUE": told(proxy.port)})
        queues.close_all()


@pytest.fixture
def beanstalkd(settings, transactional_db):
    with services.Beanstalkd(binlog=True) as server, Proxy(server.port) as proxy:
        place = {"DRIVER": "beanstalkd", "HOST": proxy.host, "RETRY_AFTER": 10, "TIMEOUT": 1}

        def told(port: int) -> dict[str, Any]:
            return {"DEFAULT": "bean", "CONNECTIONS": {"bean": {**place, "PORT": port}}}

        settings.DJQUEUE = told(server.port)
        overrides = {"DJQUEUE": told(proxy.port)}
        # Its shortest lease is 10 s: the troubles need not be as long.
        yield Scene("bean", LEASE, proxy, server, overrides=overrides, together=1.0)
        queues.close_all()


@pytest.fixture
def sqs(settings, transactional_db, sqs_server):
    import boto3

    with Proxy(sqs_server.port) as proxy:
        boto = boto3.client("sqs", endpoint_url=sqs_server.url)
        url = boto.create_queue(QueueName=f"troubles-{os.getpid()}-{SEED}")["QueueUrl"]

        def told(port: int) -> dict[str, Any]:
            address = f"http://127.0.0.1:{port}"
            return {
                "DEFAULT": "sqs",
                "CONNECTIONS": {
                    "sqs": {
                        "DRIVER": "sqs",
                        "URLS": {"default": url.replace(sqs_server.url, address)},
                        "ENDPOINT_URL": address,
                        "REGION": sqs_server.region,
                        "RETRY_AFTER": LEASE,
                    }
                },
            }

        settings.DJQUEUE = told(sqs_server.port)
        yield Scene("sqs", LEASE, proxy, overrides={"DJQUEUE": told(proxy.port)})
        queues.close_all()


@pytest.fixture
def sql_of_redis(settings, transactional_db):
    """Jobs in Redis, and the troubles are with the database beside it."""
    with (
        services.Redis(aof="always") as server,
        Proxy(int(connection.settings_dict["PORT"])) as proxy,
    ):
        url = f"redis://127.0.0.1:{server.port}/0"
        settings.DJQUEUE = {
            "DEFAULT": "redis",
            "CONNECTIONS": {"redis": {"DRIVER": "redis", "RETRY_AFTER": LEASE, "URL": url}},
        }
        overrides = {"DATABASES": database_settings(proxy.port)}
        yield Scene("redis", LEASE, proxy, overrides=overrides)
        queues.close_all()


@pytest.fixture
def cluster(settings, transactional_db):
    """Three nodes; the one with the queue is suspended or killed."""
    with services.RedisCluster(aof=True) as nodes:
        place = {"DRIVER": "redis", "CLUSTER": True, "RETRY_AFTER": LEASE, "TIMEOUT": 1}
        settings.DJQUEUE = {
            "DEFAULT": "cluster",
            "CONNECTIONS": {"cluster": {**place, "URL": nodes.url}},
        }
        slot = int(nodes.nodes[0].cli("cluster", "keyslot", "djqueue:{default}:body"))
        yield Scene("cluster", LEASE, server=nodes.nodes[slot * 3 // 16384])
        queues.close_all()


HERE = ["database", "sql_of_redis"] if databases.vendor() != "sqlite" else ["database"]
ELSEWHERE = ["redis", "cluster", "beanstalkd", "sqs"] if databases.vendor() == "sqlite" else []
ASKED_FOR = os.environ.get(STORE)
"""The one store of a long run."""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("place", [ASKED_FOR] if ASKED_FOR else [*HERE, *ELSEWHERE])
def test_after_anything_each_job_is_in_one_place(place, request, transactional_db, ledger):
    scene = request.getfixturevalue(place)
    troubles.run(scene, ledger, seed=size(SEED, 1), rounds=size(ROUNDS, 1))
