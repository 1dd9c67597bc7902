"""The Redis driver behind a sentinel, through django-redis."""

from __future__ import annotations

import time

import pytest
from django.test import override_settings

from djqueue.conf import ConnectionSettings
from djqueue.drivers.base import Reservation, Settlement
from djqueue.drivers.redis import RedisDriver
from djqueue.errors import QueueUnavailable
from tests.drivers.redis_support import another, job, worker
from tests.faces import Faces
from tests.services import Redis, Server, programs
from tests.support import wait_until

pytestmark = [pytest.mark.scenario, pytest.mark.redis, pytest.mark.slow]


class Sentinel(Server):
    """A sentinel that alone decides which of the servers is the primary."""

    requirement = programs.REDIS

    def __init__(self, primary: Redis) -> None:
        super().__init__()
        self.primary = primary
        # django-redis keeps its pools by URL, for the life of the process.
        self.service = f"jobs{self.port}"

    def prepare(self) -> None:
        lines = (
            f"port {self.port}",
            "bind 127.0.0.1",
            f"sentinel monitor {self.service} 127.0.0.1 {self.primary.port} 1",
            f"sentinel down-after-milliseconds {self.service} 500",
            f"sentinel failover-timeout {self.service} 2000",
        )
        self.write("sentinel.conf", "\n".join(lines) + "\n")

    def command(self) -> list[str]:
        program = programs.require(self.requirement)
        return [str(program), str(self.folder / "sentinel.conf"), "--sentinel"]

    def is_ready(self) -> bool:
        # It learns of the replica from the primary, in its own time.
        return b"runid" in self.ask(f"SENTINEL slaves {self.service}\r\n".encode())


@pytest.fixture
def servers():
    with Redis() as primary, Redis() as replica:
        primary.cli("config", "set", "repl-diskless-sync-delay", "0")
        replica.cli("config", "set", "repl-diskless-sync-delay", "0")
        replica.cli("replicaof", "127.0.0.1", str(primary.port))
        wait_until(lambda: "master_link_status:up" in replica.cli("info", "replication"))
        with Sentinel(primary) as sentinel:
            yield primary, replica, sentinel


@pytest.fixture
def driver(servers):
    cache = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"redis://{servers[2].service}/0",
        "OPTIONS": {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_POOL_CLASS": "redis.sentinel.SentinelConnectionPool",
            "SENTINELS": [("127.0.0.1", servers[2].port)],
        },
    }
    factory = "django_redis.pool.SentinelConnectionFactory"
    with override_settings(CACHES={"queue": cache}, DJANGO_REDIS_CONNECTION_FACTORY=factory):
        settings = ConnectionSettings("redis", "redis", options={"CACHE": "queue", "TIMEOUT": 2})
        driver = Faces(RedisDriver(settings))
        yield driver
        driver.close()


def test_a_failover_is_followed(servers, driver):
    primary, _, _ = servers
    pusher = another(driver)
    driver.join(worker())
    wakeup = driver.watch(["default"])
    assert wakeup is not None
    jobs = [job() for _ in range(10)]
    pusher.push(jobs)
    held = driver.exchange([], ["default"], 4).reservations
    replicated(primary)
    primary.kill9()

    def pushed() -> bool:
        try:
            pusher.push([job()])
        except QueueUnavailable:
            return False
        return True

    wait_until(pushed, 20)
    wait_until(lambda: extended(driver, held), 5)
    lost, more = driver.exchange([Settlement(r) for r in held], ["default"], 100)
    assert lost == set()
    assert {r.id for r in [*held, *more]} >= {job.id for job in jobs}
    wakeup.set_idle(True)
    wait_until(lambda: not wakeup.arrived(), 5)
    pusher.push([job()])
    wait_until(wakeup.arrived, 5)
    pusher.close()


def replicated(primary: Redis) -> None:
    """Wait until the replica has all: what it has not got would be lost."""

    def told() -> bool:
        lines = primary.cli("info", "replication").split()
        facts = dict(line.split(":", 1) for line in lines if ":" in line)
        reached = facts["slave0"].rpartition("offset=")[2].split(",")[0]
        return reached == facts["master_repl_offset"]

    wait_until(told, 10)


def extended(driver: RedisDriver, held: list[Reservation]) -> bool:
    try:
        return driver.extend(held) == set()
    except QueueUnavailable:
        return False


def test_a_primary_that_became_a_replica_is_left(servers, driver):
    primary, replica, sentinel = servers
    driver.push([job()])
    replicated(primary)
    order = f"SENTINEL failover {sentinel.service}\r\n".encode()
    wait_until(lambda: sentinel.ask(order).startswith(b"+OK"), 20, every=0.3)
    wait_until(lambda: plays(replica, b"master"), 10)
    wait_until(lambda: plays(primary, b"slave"), 20)
    driver.push([job()])
    assert len(driver.exchange([], ["default"], 10).reservations) == 2


def plays(server: Redis, role: bytes) -> bool:
    """Whether that is its role; a server that is given another one hangs up on everybody."""
    return b"role:" + role in server.ask(b"INFO replication\r\n")


def test_a_sentinel_that_is_silent_is_waited_for_no_longer_than_a_server(driver, servers):
    driver.push([job()])
    servers[2].freeze()
    try:
        for patience in (None, 0.3):
            driver.patience = patience
            driver.close()
            started = time.monotonic()
            with pytest.raises(QueueUnavailable):
                driver.counts("default")
            assert time.monotonic() - started < (patience or 2.0) * 1.1 + 0.3
    finally:
        servers[2].thaw()
    driver.patience = None
    assert driver.counts("default").waiting == 1
