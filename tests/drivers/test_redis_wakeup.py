"""How a push on Redis wakes idle workers."""

from __future__ import annotations

import select
import time
from contextlib import ExitStack

import pytest
import redis

from djqueue.drivers.base import Settlement, Verdict, Wakeup
from djqueue.drivers.redis import RedisDriver
from tests.drivers.redis_support import another, job, make_driver
from tests.services import RedisCluster
from tests.support import wait_until

pytestmark = pytest.mark.redis


@pytest.fixture(params=["single", "cluster"])
def driver(request):
    if request.param == "single":
        driver = make_driver(request.getfixturevalue("redis_server").url)
    else:
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        driver = make_driver(cluster.url, CLUSTER=True)
    yield driver
    driver.close()


@pytest.fixture
def pusher(driver):
    pusher = another(driver)
    yield pusher
    pusher.close()


def sleeper(stack: ExitStack, driver: RedisDriver, *queues: str) -> Wakeup:
    """The wake-up of a worker that sleeps."""
    own = another(driver)
    stack.callback(own.close)
    wakeup = own.watch(queues or ["default"])
    assert wakeup is not None
    wakeup.set_idle(True)
    time.sleep(0.1)
    while wakeup.arrived():
        time.sleep(0.02)
    return wakeup


def readable(wakeup: Wakeup, seconds: float = 0.3) -> bool:
    descriptor = wakeup.fileno()
    assert descriptor is not None
    return bool(select.select([descriptor], [], [], seconds)[0])


def test_a_push_to_any_of_several_queues_wakes(driver, pusher):
    queues = ["high", "default", "low", "mail{eu}"]
    with ExitStack() as stack:
        wakeup = sleeper(stack, driver, *queues)
        for queue in queues:
            assert not readable(wakeup, 0.05)
            pusher.push([job(queue=queue)])
            assert readable(wakeup)
            assert wakeup.arrived()
            wakeup.set_idle(True)


def test_pickup_is_quick(driver, pusher):
    with ExitStack() as stack:
        wakeup = sleeper(stack, driver)
        delays = []
        for _ in range(30):
            pusher.push([job()])
            pushed = time.perf_counter()
            assert readable(wakeup, 1.0)
            delays.append(time.perf_counter() - pushed)
            assert wakeup.arrived()
        assert sorted(delays)[15] < 0.01


def test_who_was_called_listens_again_when_it_found_little(driver, pusher):
    wakeup = driver.watch(["default"])
    assert wakeup is not None
    with ExitStack() as stack:
        stack.callback(wakeup.close)
        pusher.push([job() for _ in range(30)])
        driver.exchange([], ["default"], 10)  # all it wanted: a call is left for somebody idle
        wait_until(wakeup.arrived, 2.0)
        assert not wakeup.arrived()
        assert not readable(wakeup)
        other = sleeper(stack, driver)
        driver.exchange([], ["default"], 10)
        wait_until(other.arrived, 2.0)
        assert not readable(wakeup)
        other.close()
        driver.exchange([], ["default"], 11)
        pusher.push([job()])
        wait_until(wakeup.arrived, 2.0)


def test_one_push_wakes_one_worker(driver, pusher):
    with ExitStack() as stack:
        sleepers = [sleeper(stack, driver) for _ in range(3)]
        pusher.push([job()])
        time.sleep(0.2)
        assert sum(wakeup.arrived() for wakeup in sleepers) == 1


def test_as_many_pushes_wake_as_many_workers(driver, pusher):
    with ExitStack() as stack:
        sleepers = [sleeper(stack, driver) for _ in range(3)]
        for _ in range(3):
            pusher.push([job()])
        time.sleep(0.2)
        assert sum(wakeup.arrived() for wakeup in sleepers) == 3


def test_a_worker_that_takes_a_full_window_calls_the_next(driver, pusher):
    with ExitStack() as stack:
        sleepers = [sleeper(stack, driver) for _ in range(2)]
        pusher.push([job() for _ in range(30)])
        time.sleep(0.1)
        assert sum(wakeup.arrived() for wakeup in sleepers) == 1
        for wakeup in sleepers:
            wakeup.set_idle(True)
        pusher.exchange([], ["default"], 10)
        time.sleep(0.1)
        assert sum(wakeup.arrived() for wakeup in sleepers) == 1
        for wakeup in sleepers:
            wakeup.set_idle(True)
        pusher.exchange([], ["default"], 100)
        time.sleep(0.1)
        assert sum(wakeup.arrived() for wakeup in sleepers) == 0


def test_a_busy_worker_passes_a_call_on(driver, pusher):
    with ExitStack() as stack:
        busy = sleeper(stack, driver)
        busy.set_idle(False)
        idle = sleeper(stack, driver)
        pusher.push([job()])
        # Whoever has waited longest is called first: the one that is busy by now.
        wait_until(busy.arrived, 2.0)
        wait_until(idle.arrived, 2.0)


def test_a_release_and_a_promotion_wake(driver, pusher):
    pusher.push([job(), job(delay=0.2)])
    (held,) = pusher.exchange([], ["default"], 1).reservations
    with ExitStack() as stack:
        wakeup = sleeper(stack, driver)
        pusher.settle([Settlement(held, Verdict.RELEASE)])
        wait_until(wakeup.arrived, 1.0)
        wakeup.set_idle(True)
        time.sleep(0.25)
        assert not wakeup.arrived()
        pusher.promote(["default"])
        wait_until(wakeup.arrived, 1.0)


def test_tokens_do_not_pile_up(driver, pusher):
    for _ in range(20):
        pusher.push([job()])
    with ExitStack() as stack:
        own = another(driver)
        stack.callback(own.close)
        wakeup = own.watch(["default"])
        assert wakeup is not None
        calls = 0
        for _ in range(20):
            wakeup.set_idle(True)
            time.sleep(0.02)
            calls += wakeup.arrived()
        assert calls == 1


def test_waiting_is_renewed(redis_server):
    driver = make_driver(redis_server.url, BLOCK_FOR=0.2)
    with ExitStack() as stack:
        stack.callback(driver.close)
        wakeup = sleeper(stack, driver)
        for _ in range(3):
            assert readable(wakeup, 1.0)
            assert not wakeup.arrived()
        driver.push([job()])
        wait_until(wakeup.arrived, 1.0)


def test_a_broken_socket_is_replaced(redis_server):
    driver = make_driver(redis_server.url)
    with ExitStack() as stack, redis.Redis.from_url(redis_server.url) as client:
        stack.callback(driver.close)
        wakeup = sleeper(stack, driver)
        before = wakeup.fileno()
        client.client_kill_filter(_type="normal", skipme=True)
        assert readable(wakeup, 1.0)
        assert wakeup.arrived(), "whatever came while it was deaf has to be looked for"
        assert not wakeup.arrived()
        assert wakeup.fileno() == before
        driver.push([job()])
        wait_until(wakeup.arrived, 2.0)
