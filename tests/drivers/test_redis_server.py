"""The Redis driver when its server is full, restarted, frozen, read-only or not fit for jobs."""

from __future__ import annotations

import time

import pytest
import redis

from djqueue.drivers.base import Settlement, State, Verdict
from djqueue.errors import ConfigurationError, QueueUnavailable
from tests.drivers.redis_support import another, job, make_driver, worker
from tests.support import ROOT, wait_until

pytestmark = pytest.mark.redis


@pytest.fixture
def client(redis_server):
    """A client that leaves the server's configuration as it was."""
    with redis.Redis.from_url(redis_server.url) as client:
        yield client
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
        client.replicaof("NO", "ONE")


@pytest.fixture
def driver(redis_server):
    driver = make_driver(redis_server.url)
    yield driver
    driver.close()


# -- fit for jobs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
def test_a_worker_refuses_a_server_that_evicts(driver, client, policy):
    client.config_set("maxmemory-policy", policy)
    with pytest.raises(ConfigurationError, match=f"maxmemory-policy {policy}.*ALLOW_EVICTION"):
        driver.join(worker())


def test_eviction_may_be_allowed(redis_server, client):
    client.config_set("maxmemory-policy", "allkeys-lru")
    driver = make_driver(redis_server.url, ALLOW_EVICTION=True)
    driver.join(worker())
    assert "maxmemory-policy allkeys-lru" in driver.warnings()[0]


def test_a_server_that_keeps_nothing_is_worth_a_remark(driver):
    (remark,) = driver.warnings()
    assert "no persistence: every job is gone when it restarts" in remark


def test_snapshots_alone_are_worth_a_remark(driver, client):
    client.config_set("save", "3600 1")
    (remark,) = driver.warnings()
    client.config_set("save", "")
    assert "snapshots alone" in remark


def test_nothing_is_said_about_a_server_with_an_append_only_file(redis_aof_server):
    driver = make_driver(redis_aof_server.url)
    assert driver.warnings() == []
    driver.close()


# -- full -----------------------------------------------------------------------------------------


def test_a_full_server_refuses_a_push_and_still_lets_workers_empty_it(driver, client):
    driver.join(worker(lease=0.3))
    other = another(driver)
    other.join(worker("other"))
    driver.push([job() for _ in range(30)])
    driver.push([job(delay=0.01)])
    held = driver.exchange([], ["default"], 10).reservations
    client.config_set("maxmemory", 1)
    with pytest.raises(QueueUnavailable, match="maxmemory"):
        driver.push([job()])
    with pytest.raises(QueueUnavailable, match="maxmemory"):
        driver.push([job(delay=60)])
    assert driver.extend(held) == set()
    for verdict in (Verdict.RELEASE, Verdict.RETURN, Verdict.INTERRUPTED):
        assert driver.settle([Settlement(held.pop(), verdict, history="h")]) == set()
    time.sleep(0.5)
    taken = other.recover(3)
    assert len(taken) == 3
    assert driver.release("default", [r.id for r in held]) == 4
    assert other.promote(["default"]).moved == 1
    done = [Settlement(r) for r in taken]
    while done:
        lost, new = other.exchange(done, ["default"], 10)
        assert lost == set()
        done = [Settlement(r) for r in new]
    assert other.counts("default") == (0, 0, 0, None)


def test_what_a_full_server_refused_is_not_half_stored(driver, client):
    driver.push([job()])
    before = client.dbsize()
    client.config_set("maxmemory", 1)
    with pytest.raises(QueueUnavailable):
        driver.push([job() for _ in range(10)])
    client.config_set("maxmemory", 0)
    assert client.dbsize() == before
    assert driver.counts("default").waiting == 1


# -- away -----------------------------------------------------------------------------------------


def test_workers_and_pushers_go_on_after_a_restart(redis_aof_server):
    pusher = make_driver(redis_aof_server.url)
    driver = another(pusher)
    driver.join(worker())
    wakeup = driver.watch(["default"])
    assert wakeup is not None
    wakeup.set_idle(True)
    jobs = [job() for _ in range(50)]
    pusher.push(jobs)
    held = driver.exchange([], ["default"], 20).reservations

    redis_aof_server.restart()

    # Twice at most: the first call may find the old connection broken.
    late = job()
    pusher.push([late])
    wait_until(wakeup.arrived, 5.0)
    wakeup.set_idle(True)
    assert driver.extend(held) == set()
    lost, more = driver.exchange([Settlement(r) for r in held], ["default"], 100)
    assert lost == set()
    assert {r.id for r in [*held, *more]} == {job.id for job in [*jobs, late]}
    wait_until(lambda: not wakeup.arrived(), 5.0)
    pusher.push([job()])
    wait_until(wakeup.arrived, 5.0)
    driver.close()
    pusher.close()


def test_a_killed_server_comes_back_with_every_job(redis_aof_server):
    driver = make_driver(redis_aof_server.url)
    jobs = [job() for _ in range(100)]
    driver.push(jobs)
    held = driver.exchange([], ["default"], 30).reservations
    redis_aof_server.kill9()
    with pytest.raises(QueueUnavailable):
        driver.exchange([], ["default"], 1)
    with pytest.raises(QueueUnavailable):
        driver.push([job()])
    redis_aof_server.start()
    assert driver.settle([Settlement(r) for r in held]) == set()
    assert len(driver.exchange([], ["default"], 100).reservations) == 70
    driver.close()


def test_scripts_that_the_server_forgot_are_sent_again(driver, client):
    driver.push([job()])
    client.script_flush()
    driver.push([job()])
    client.script_flush()
    assert len(driver.exchange([], ["default"], 10).reservations) == 2


def test_an_idle_connection_that_the_server_closed_costs_no_error(driver, client):
    driver.push([job()])
    client.client_kill_filter(_type="normal", skipme=True)
    driver.push([job()])
    client.client_kill_filter(_type="normal", skipme=True)
    time.sleep(0.6)
    assert len(driver.exchange([], ["default"], 10).reservations) == 2


def test_a_frozen_server_is_given_up_in_time(redis_server):
    driver = make_driver(redis_server.url, TIMEOUT=0.3)
    driver.push([job()])
    redis_server.freeze()
    try:
        for call in (
            lambda: driver.push([job()]),
            lambda: driver.exchange([], ["default"], 1),
            lambda: driver.extend([]) or driver.counts("default"),
        ):
            started = time.monotonic()
            with pytest.raises(QueueUnavailable, match=r"[Tt]imeout"):
                call()
            assert time.monotonic() - started < 1.0
    finally:
        redis_server.thaw()
    assert len(driver.exchange([], ["default"], 10).reservations) >= 1
    driver.close()


def test_what_a_lost_answer_reserved_is_given_back(redis_server):
    driver = make_driver(redis_server.url, TIMEOUT=0.3)
    driver.join(worker())
    driver.push([job() for _ in range(5)])
    held = driver.exchange([], ["default"], 2).reservations
    redis_server.freeze()
    with pytest.raises(QueueUnavailable):
        driver.exchange([], ["default"], 2)
    redis_server.thaw()
    wait_until(lambda: driver.counts("default").reserved == 4, 5.0)
    found = driver.unacknowledged(held)
    assert len(found) == 2
    assert driver.settle([Settlement(r, Verdict.RETURN) for r in found]) == set()
    assert driver.counts("default")[:3] == (3, 0, 2)
    driver.close()


def test_a_push_whose_answer_was_lost_may_be_repeated(redis_server):
    driver = make_driver(redis_server.url, TIMEOUT=0.3)
    jobs = [job() for _ in range(5)]
    driver.push([])
    driver.counts("default")
    redis_server.freeze()
    with pytest.raises(QueueUnavailable):
        driver.push(jobs)
    redis_server.thaw()
    driver.push(jobs)
    assert driver.counts("default").waiting == 5
    driver.close()


def test_a_replica_is_no_place_to_write(driver, client):
    driver.push([job()])
    client.replicaof("127.0.0.1", "1")
    with pytest.raises(QueueUnavailable, match=r"[Rr]ead.?only"):
        driver.push([job()])
    with pytest.raises(QueueUnavailable, match=r"[Rr]ead.?only"):
        driver.exchange([], ["default"], 1)
    client.replicaof("NO", "ONE")
    driver.push([job()])
    assert len(driver.exchange([], ["default"], 10).reservations) == 2


def test_nobody_there_is_told_with_the_connections_name():
    driver = make_driver("redis://127.0.0.1:1/0")
    with pytest.raises(QueueUnavailable, match='Connection "redis" is unavailable'):
        driver.push([job()])


def test_few_permissions_are_enough(redis_server, client):
    allowed = "~djqueue:* +@read +@write +@scripting +@connection +time +info"
    client.execute_command("ACL", "SETUSER", "queue", "on", ">secret", *allowed.split())
    page = (ROOT / "docs" / "drivers" / "redis.md").read_text().replace("\n", " ")
    assert allowed in page
    url = f"redis://queue:secret@{redis_server.host}:{redis_server.port}/5"
    driver = make_driver(url, PREFIX="djqueue")
    driver.join(worker(lease=0.01))
    wakeup = driver.watch(["default"])
    assert wakeup is not None
    driver.push([job() for _ in range(4)])
    wait_until(wakeup.arrived)
    held = driver.exchange([], ["default"], 2).reservations
    assert driver.extend(held) == set()
    driver.settle([Settlement(held[0], Verdict.RELEASE)])
    wait_until(lambda: driver.recover(1))
    assert driver.promote(["default"]) == (0, None)
    assert len(driver.peek("default", State.WAITING)) == 3
    assert driver.unacknowledged([])
    assert driver.warnings() == []
    assert driver.clear("default") == 3
    driver.close()
    client.execute_command("ACL", "DELUSER", "queue")


# -- size -----------------------------------------------------------------------------------------


def test_a_crowd_of_due_jobs_never_keeps_the_server_busy(driver, client):
    for _ in range(10):
        driver.push([job(delay=0.001) for _ in range(2000)])
    slowest, moved = 0.0, 0
    while moved < 20_000:
        started = time.perf_counter()
        moved += driver.promote(["default"]).moved
        slowest = max(slowest, time.perf_counter() - started)
    assert slowest < 0.05
    client.config_resetstat()
    driver.exchange([], ["default"], 100)
    driver.clear("default")
