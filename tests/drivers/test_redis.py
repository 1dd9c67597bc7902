"""The Redis driver, on a server of its own."""

from __future__ import annotations

import uuid

import pytest
import redis
from django.test import override_settings

from djqueue.conf import ConnectionSettings
from djqueue.drivers.base import Driver, Settlement, State, StoredJob, Verdict
from djqueue.drivers.redis import RedisDriver
from djqueue.errors import ConfigurationError, QueueUnavailable
from djqueue.testing import DriverContract
from tests.drivers.redis_support import another, job, make_driver
from tests.faces import Faces
from tests.support import wait_until

pytestmark = pytest.mark.redis


class TestContract(DriverContract):
    @pytest.fixture(autouse=True)
    def _server(self, redis_server):
        self.options = {"URL": redis_server.url, "PREFIX": f"test-{uuid.uuid4().hex}"}

    def make_driver(self) -> Driver:
        return RedisDriver(ConnectionSettings("redis", "redis", options=self.options))

    def kill_lease(self) -> None:
        with redis.Redis.from_url(self.options["URL"]) as client:
            for key in client.scan_iter(f"{self.options['PREFIX']}*:leased"):
                client.zadd(key, dict.fromkeys(client.zrange(key, 0, -1), 1), xx=True)


@pytest.fixture
def queue_cache(redis_server):
    """A django-redis cache of the queue's own, in another database of the server."""
    caches = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "queue": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"redis://{redis_server.host}:{redis_server.port}/3",
            "OPTIONS": {
                "SOCKET_TIMEOUT": 2,
                "CONNECTION_POOL_KWARGS": {"decode_responses": True, "max_connections": 1},
            },
        },
    }
    with override_settings(CACHES=caches), redis.Redis(port=redis_server.port, db=3) as client:
        yield client


def test_a_cache_of_django_redis_is_a_place_for_jobs(queue_cache):
    driver = Faces(RedisDriver(ConnectionSettings("redis", "redis", options={"CACHE": "queue"})))
    other = another(driver)
    jobs = [job(payload="grüße \udcff") for _ in range(3)]
    driver.push(jobs)
    assert queue_cache.exists("djqueue:{default}:body")
    held = other.exchange([], ["default"], 10).reservations
    assert [r.payload for r in held] == [job.payload for job in jobs]
    assert other.settle([Settlement(r) for r in held]) == set()
    driver.close()
    other.close()


def test_a_driver_without_a_place_says_so():
    with pytest.raises(ConfigurationError, match='neither "URL" nor "CACHE"'):
        RedisDriver(ConnectionSettings("redis", "redis"))
    with pytest.raises(ConfigurationError, match=r'\["URL"\] cannot be read'):
        RedisDriver(ConnectionSettings("redis", "redis", options={"URL": "nonsense"}))


def test_a_queue_name_may_have_a_tag(redis_server):
    driver = make_driver(redis_server.url)
    for queue in ("mail{eu}", "{eu}", "eu"):
        driver.push([job(queue=queue, payload=queue)])
    for queue in ("mail{eu}", "{eu}", "eu"):
        (held,) = driver.exchange([], [queue], 10).reservations
        assert (held.queue, held.payload) == (queue, queue)
    assert driver.queues() == ["default", "eu", "mail{eu}", "{eu}"]
    driver.close()


def test_names_that_differ_in_case_alone_are_two_queues(redis_server):
    driver = make_driver(redis_server.url)
    driver.push([job(queue="mail", payload="mail"), job(queue="Mail", payload="Mail")])
    assert driver.queues() == ["Mail", "default", "mail"]
    assert [r.payload for r in driver.exchange([], ["Mail"], 10).reservations] == ["Mail"]
    driver.close()


def test_queues_are_forgotten_when_they_are_empty(redis_server):
    driver = make_driver(redis_server.url)
    driver.push([job(queue="once")])
    assert driver.queues() == ["default", "once"]
    driver.clear("once")
    assert driver.queues() == ["default"]
    driver.close()


MANY = 1100
"""Jobs that take several calls of the push script."""


def test_many_jobs_keep_their_order_though_the_server_forgets_its_scripts(
    redis_server,
):
    driver = make_driver(redis_server.url)
    driver.push([job()])
    redis_server.cli("script", "flush")
    jobs = [job() for _ in range(MANY)]
    driver.push(jobs)
    assert [stored.id for stored in _all(driver)][1:] == [each.id for each in jobs]
    driver.close()


def test_a_push_of_many_jobs_that_is_refused_leaves_a_connection_in_step(
    redis_server,
):
    driver = make_driver(redis_server.url)
    driver.push([job()])
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(QueueUnavailable, match="maxmemory"):
                driver.push([job() for _ in range(MANY)])
        finally:
            client.config_set("maxmemory", 0)
    assert driver.counts("default").waiting == 1
    jobs = [job() for _ in range(MANY)]
    driver.push(jobs)
    assert [stored.id for stored in _all(driver)][1:] == [each.id for each in jobs]
    driver.close()


def test_a_push_of_many_jobs_survives_a_connection_that_breaks(redis_server):
    driver = make_driver(redis_server.url)
    driver.push([job()])
    redis_server.cli("client", "kill", "type", "normal", "skipme", "yes")
    jobs = [job() for _ in range(MANY)]
    driver.push(jobs)
    assert [stored.id for stored in _all(driver)][1:] == [each.id for each in jobs]
    driver.close()


def _all(driver: RedisDriver) -> list[StoredJob]:
    return driver.peek("default", State.WAITING, 2 * MANY)


def test_a_worker_registers_its_queues_with_a_server_that_forgot_them(redis_server):
    driver = make_driver(redis_server.url)
    driver.push([job()])
    with redis.Redis.from_url(redis_server.url) as client:
        client.delete(f"{driver.settings.option('PREFIX')}:queues")
    assert driver.driver._calls.names.all() == []
    driver.recover(10)
    assert driver.driver._calls.names.all() == ["default"]
    driver.close()


def test_what_is_done_leaves_nothing_but_counters(redis_server):
    driver = make_driver(redis_server.url)
    driver.push([job() for _ in range(10)] + [job(delay=0.001)])
    wait_until(lambda: driver.promote(["default"]).moved, 2.0)
    held = driver.exchange([], ["default"], 20).reservations
    driver.settle([Settlement(r, Verdict.RELEASE, history="h") for r in held])
    held = driver.exchange([], ["default"], 20).reservations
    assert len(held) == 11
    driver.settle([Settlement(r) for r in held])
    prefix = driver.settings.option("PREFIX")
    with redis.Redis.from_url(redis_server.url) as client:
        lasting = {key.decode() for key in client.keys(f"{prefix}*") if client.ttl(key) < 0}
        passing = [key for key in client.keys(f"{prefix}*") if 0 < client.ttl(key) <= 60]
    queue = f"{prefix}:{{default}}"
    assert lasting - {f"{queue}:wake"} == {f"{prefix}:queues", f"{queue}:number", f"{queue}:fence"}
    assert len(passing) == 1  # by which a push of this process would be known again
    driver.close()
