"""Fencing numbers of Redis when its history goes back: a promoted replica, a lost second."""

from __future__ import annotations

import time

import pytest

from djqueue.drivers.base import Reservation, Settlement, Verdict
from djqueue.drivers.redis import RedisDriver
from tests.drivers.redis_support import another, job, make_driver, worker
from tests.services import Redis
from tests.support import wait_until

pytestmark = pytest.mark.redis


@pytest.fixture
def replica(redis_server):
    with Redis() as replica:
        replica.cli("config", "set", "repl-diskless-sync-delay", "0")
        redis_server.cli("config", "set", "repl-diskless-sync-delay", "0")
        replica.cli("replicaof", "127.0.0.1", str(redis_server.port))
        wait_until(lambda: "master_link_status:up" in replica.cli("info", "replication"))
        yield replica


def reserve(driver: RedisDriver, number: int) -> list[Reservation]:
    """One after the other: each has a number of its own."""
    return [driver.exchange([], ["default"], 1).reservations[0] for _ in range(number)]


def test_a_promoted_replica_repeats_no_reservation(redis_server, replica):
    """What was reserved from the old primary is settled on the new one, as after a failover."""
    old = make_driver(redis_server.url)
    old.join(worker("old"))
    old.push([job() for _ in range(6)])
    reserve(old, 2)
    redis_server.cli("wait", "1", "1000")
    replica.cli("replicaof", "no", "one")  # from here on it lacks what the primary does
    stale = reserve(old, 3)
    new = make_driver(replica.url, PREFIX=old.settings.option("PREFIX"))
    new.join(worker("new"))
    held = reserve(new, 3)
    assert [r.id for r in held] == [r.id for r in stale]
    assert [new.fence(b) > old.fence(a) for a, b in zip(stale, held, strict=True)] == [True] * 3
    ended = [Settlement(stale[0]), Settlement(stale[1], Verdict.RELEASE)]
    assert new.exchange(ended, (), 0).lost == {stale[0].id, stale[1].id}
    assert new.extend(stale) == {r.id for r in stale}
    assert [r.id for r in new.exchange([], ["default"], 10).reservations] not in held
    assert new.settle([Settlement(r) for r in held]) == set()
    for driver in (old, new):
        driver.close()


def test_equal_numbers_of_two_workers_are_two_reservations(redis_server):
    """Two histories may meet in the same microsecond: the session tells them apart."""
    driver = make_driver(redis_server.url)
    other = another(driver)
    driver.join(worker("driver"))
    other.join(worker("other"))
    driver.push([job()])
    (held,) = reserve(driver, 1)
    session = other.session._reserving.holding.session
    forged = held._replace(handle=f"{driver.fence(held)}:{session}:")
    assert other.exchange([Settlement(forged)], (), 0).lost == {held.id}
    assert driver.settle([Settlement(held)]) == set()
    driver.close()
    other.close()


def test_numbers_only_grow_though_the_counter_is_lost(redis_server):
    driver = make_driver(redis_server.url)
    driver.push([job() for _ in range(4)])
    numbers = []
    for value in (None, b"garbage", b"5", b"%d" % (time.time_ns() // 1000 + 60_000_000)):
        driver._store.connections()[0].run((b"DEL", driver._keys("default").fence))
        if value is not None:
            driver._store.connections()[0].run((b"SET", driver._keys("default").fence, value))
        numbers += [driver.fence(r) for r in reserve(driver, 1)]
    assert numbers == sorted(set(numbers))
    driver.close()


def test_a_reservation_that_is_taken_over_has_a_larger_number(redis_server):
    driver = make_driver(redis_server.url)
    driver.join(worker(lease=0.001))
    driver.push([job()])
    (held,) = reserve(driver, 1)
    time.sleep(0.01)
    (taken,) = driver.recover(1)
    assert driver.fence(taken) > driver.fence(held)
    assert driver.settle([Settlement(held)]) == {held.id}
    assert driver.settle([Settlement(taken)]) == set()
    driver.close()
