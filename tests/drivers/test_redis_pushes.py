"""Pushes to Redis that break off: what is stored is known, and what was run is not run again."""

from __future__ import annotations

import threading
import time

import pytest
import redis

from djqueue.conf import ConnectionSettings
from djqueue.drivers.base import Settlement
from djqueue.drivers.redis import RedisDriver
from djqueue.drivers.redis.pushing import Push
from djqueue.errors import QueueUnavailable
from tests.drivers.redis_support import another, job, make_driver
from tests.faces import Faces
from tests.services.proxy import Mode, Proxy

pytestmark = pytest.mark.redis


@pytest.fixture
def driver(redis_server):
    driver = make_driver(redis_server.url)
    yield driver
    driver.close()


@pytest.fixture
def pusher(driver, proxy):
    """The same queue, by way of the proxy."""
    url = f"redis://127.0.0.1:{proxy.port}/0"
    pusher = make_driver(url, PREFIX=driver.settings.option("PREFIX"), TIMEOUT=1)
    pusher.driver._calls.names.add("default")
    yield pusher
    pusher.close()


class Runner(threading.Thread):
    """A worker that is faster than anybody: what is in line is over at once."""

    def __init__(self, driver: RedisDriver) -> None:
        super().__init__(daemon=True)
        self.driver = another(driver)
        self.ran: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            held = self.driver.exchange([], ["default"], 1000).reservations
            self.driver.settle([Settlement(r) for r in held])
            self.ran += [r.id for r in held]
            time.sleep(0.001)

    def __enter__(self) -> Runner:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.over.set()
        self.join()
        self.driver.close()


# -- what the driver repeats ----------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2000])
def test_a_push_whose_answer_is_lost_runs_once_however_fast_the_worker_is(
    driver, pusher, proxy, number
):
    jobs = []
    with Runner(driver) as runner:
        for _ in range(5):
            some = [job() for _ in range(number)]
            proxy.lose_replies(0.05)
            pusher.push(some)
            jobs += some
            time.sleep(0.06)
        time.sleep(0.1)
    assert proxy.lost
    assert sorted(runner.ran) == sorted(each.id for each in jobs)


def test_without_the_name_of_the_call_they_would_run_twice(driver, pusher, proxy, monkeypatch):
    monkeypatch.setattr(Push, "proofs", _Nothing(), raising=False)
    with Runner(driver) as runner:
        proxy.lose_replies(0.05)
        pusher.push([job()])
        time.sleep(0.2)
    assert len(runner.ran) == 2


def test_however_much_is_pushed_one_key_remembers_it(driver, redis_server):
    for _ in range(5):
        driver.push([job() for _ in range(300)])
    with redis.Redis.from_url(redis_server.url) as client:
        (key,) = client.keys(f"{driver.settings.option('PREFIX')}*:push:*")
        assert 0 < client.ttl(key) <= 60


def test_with_an_outbox_a_push_is_one_whoever_repeats_it(redis_server):
    options = {"URL": redis_server.url, "PREFIX": f"test-{time.time_ns()}"}
    settings = ConnectionSettings("redis", "redis", outbox=True, options=options)
    dispatcher, helper = Faces(RedisDriver(settings)), Faces(RedisDriver(settings))
    jobs = [job(), job()]
    dispatcher.push(jobs)
    held = helper.exchange([], ["default"], 10).reservations
    helper.settle([Settlement(r) for r in held])
    helper.push([*reversed(jobs), new := job()])
    assert [r.id for r in helper.exchange([], ["default"], 10).reservations] == [new.id]
    retried = jobs[0]._replace(push_id="another push")
    helper.push([retried])
    assert [r.id for r in helper.exchange([], ["default"], 10).reservations] == [retried.id]
    dispatcher.close()
    helper.close()


class _Nothing:
    """An attribute that stays empty."""

    def __get__(self, instance: object, owner: object = None) -> tuple[str, ...]:
        return ()

    def __set__(self, instance: object, value: object) -> None:
        pass


# -- what is stored -------------------------------------------------------------------------------


def test_a_server_that_is_full_in_the_middle_leaves_no_doubt(driver, redis_server):
    driver.push([job()])
    jobs = [job(payload="x" * 900) for _ in range(3000)]
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 1_000_000)
        try:
            with pytest.raises(QueueUnavailable, match="maxmemory") as caught:
                driver.push(jobs)
        finally:
            client.config_set("maxmemory", 0)
    there = {stored.id for stored in driver.find([each.id for each in jobs])}
    assert 0 < len(there) < 3000
    assert caught.value.stored == there
    assert not caught.value.ambiguous


def test_a_connection_that_ends_in_the_middle_tells_what_is_stored_for_certain(
    driver, pusher, redis_server
):
    jobs = [job(payload="x" * 900) for _ in range(3000)]
    answered = 0

    def count(data: bytes) -> None:
        nonlocal answered
        answered += data.count(b"EVALSHA")
        if answered >= 5:
            proxy.mode = Mode.DROP

    with Proxy(redis_server.port, read=count) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        pusher = make_driver(url, PREFIX=driver.settings.option("PREFIX"), TIMEOUT=1)
        with pytest.raises(QueueUnavailable) as caught:
            pusher.push(jobs)
        pusher.close()
    there = {stored.id for stored in driver.find([each.id for each in jobs])}
    assert 0 < len(caught.value.stored) < len(there) < 3000
    assert caught.value.stored < there
    assert caught.value.ambiguous


def test_a_server_that_is_gone_has_nothing_and_leaves_no_doubt():
    driver = make_driver("redis://127.0.0.1:1/0")
    with pytest.raises(QueueUnavailable) as caught:
        driver.push([job() for _ in range(600)])
    assert caught.value.stored == frozenset()
    assert not caught.value.ambiguous
