"""The Redis driver on a cluster of three nodes."""

from __future__ import annotations

import uuid

import pytest
import redis

from djqueue.conf import ConnectionSettings
from djqueue.drivers.base import Driver
from djqueue.drivers.redis import RedisDriver
from djqueue.testing import DriverContract
from tests.services import RedisCluster

pytestmark = pytest.mark.redis


class TestContract(DriverContract):
    @pytest.fixture(autouse=True)
    def _cluster(self, redis_cluster: RedisCluster) -> None:
        self.nodes = redis_cluster.nodes
        self.options = {
            "URL": redis_cluster.url,
            "CLUSTER": True,
            "PREFIX": f"test-{uuid.uuid4().hex}",
        }

    def make_driver(self) -> Driver:
        return RedisDriver(ConnectionSettings("cluster", "redis", options=self.options))

    def kill_lease(self) -> None:
        for node in self.nodes:
            with redis.Redis(port=node.port) as client:
                for key in client.scan_iter(f"{self.options['PREFIX']}*:leased"):
                    client.zadd(key, dict.fromkeys(client.zrange(key, 0, -1), 1), xx=True)
