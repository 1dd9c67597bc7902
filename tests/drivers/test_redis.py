"""The Redis driver, on a server of its own."""

from __future__ import annotations

import uuid

import pytest
import redis

from djqueue.conf import ConnectionSettings
from djqueue.drivers.base import Driver
from djqueue.drivers.redis import RedisDriver
from djqueue.testing import DriverContract
from tests.services import Redis

pytestmark = pytest.mark.redis


class TestContract(DriverContract):
    @pytest.fixture(autouse=True)
    def _server(self, redis_server: Redis) -> None:
        self.options = {"URL": redis_server.url, "PREFIX": f"test-{uuid.uuid4().hex}"}

    def make_driver(self) -> Driver:
        return RedisDriver(ConnectionSettings("redis", "redis", options=self.options))

    def kill_lease(self) -> None:
        with redis.Redis.from_url(self.options["URL"]) as client:
            for key in client.scan_iter(f"{self.options['PREFIX']}*:leased"):
                client.zadd(key, dict.fromkeys(client.zrange(key, 0, -1), 1), xx=True)
