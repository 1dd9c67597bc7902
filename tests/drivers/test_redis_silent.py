"""Redis servers that are silent rather than gone: no call waits longer than it may."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from djqueue.drivers.base import Settlement, Verdict
from djqueue.drivers.redis import RedisDriver
from djqueue.errors import QueueUnavailable
from tests.drivers.redis_support import job, make_driver, worker
from tests.services import Redis, RedisCluster
from tests.services.proxy import Mode
from tests.support import wait_until

pytestmark = [pytest.mark.scenario, pytest.mark.redis]

QUEUES = tuple(f"q{number}" for number in range(10))
PATIENCE = 0.2
LATE = 0.3
"""Seconds that a busy machine adds."""


@pytest.fixture
def driver(proxy):
    """A worker's, which has waited for nothing yet."""
    driver = make_driver(f"redis://127.0.0.1:{proxy.port}/0")
    driver.push([job(queue=queue) for queue in QUEUES])
    driver.join(worker()._replace(queues=QUEUES))
    yield driver
    proxy.mode = Mode.PASS
    driver.close()


def gives_up(call: Callable[[], object], patience: float = PATIENCE) -> bool:
    started = time.monotonic()
    with pytest.raises(QueueUnavailable, match=r"[Tt]imeout"):
        call()
    return time.monotonic() - started < patience + LATE


def test_every_call_of_a_worker_ends_when_its_patience_does(driver, proxy):
    held = driver.exchange([], QUEUES, 10).reservations
    driver.patience = PATIENCE
    proxy.mode = Mode.STALL
    calls: list[Callable[[], object]] = [
        lambda: driver.exchange([Settlement(r) for r in held], QUEUES, 10),
        lambda: driver.exchange([], QUEUES, 10),
        lambda: driver.settle([Settlement(r) for r in held]),
        lambda: driver.extend(held),
        lambda: driver.promote(QUEUES),
        lambda: driver.recover(100),
        lambda: driver.unacknowledged([]),
        lambda: driver.push([job(queue=queue) for queue in QUEUES]),
        lambda: driver.join(worker()),
        driver.warnings,
        lambda: driver.counts("q1"),
    ]
    for number, call in enumerate(calls):
        assert gives_up(call), f"call {number}"
    proxy.mode = Mode.PASS
    assert driver.extend(held) == set()


def test_a_patience_that_shrinks_holds_for_connections_that_are_open(driver, proxy):
    for patience in (0.6, 0.1):
        driver.patience = 2.0
        driver.counts("q1")
        driver.patience = patience
        proxy.mode = Mode.STALL
        assert gives_up(lambda: driver.counts("q1"), patience)
        proxy.mode = Mode.PASS


def test_to_listen_takes_no_longer_either(driver, proxy):
    driver.patience = PATIENCE
    proxy.mode = Mode.STALL
    started = time.monotonic()
    wakeup = driver.watch(QUEUES)
    assert wakeup is not None
    for _ in range(5):
        wakeup.arrived()
        wakeup.set_idle(True)
    assert time.monotonic() - started < PATIENCE + LATE


def test_without_a_patience_the_setting_holds(proxy):
    driver = make_driver(f"redis://127.0.0.1:{proxy.port}/0", TIMEOUT=0.3)
    driver.counts("default")
    proxy.mode = Mode.STALL
    assert gives_up(lambda: driver.push([job(queue=queue) for queue in QUEUES]), 0.3)
    driver.close()


def test_a_worker_that_starts_on_a_silent_server_is_told_in_time(proxy):
    driver = make_driver(f"redis://127.0.0.1:{proxy.port}/0")
    driver.patience = PATIENCE
    proxy.mode = Mode.STALL
    assert gives_up(lambda: driver.join(worker()))
    proxy.mode = Mode.PASS
    driver.join(worker())
    driver.close()


# -- a cluster, of which one node is away ---------------------------------------------------------


@pytest.fixture
def cluster():
    with RedisCluster() as cluster:
        for node in cluster.nodes:
            node.cli("config", "set", "cluster-require-full-coverage", "no")
            node.cli("config", "set", "cluster-node-timeout", "1000")
        yield cluster


def queues_by_node(driver: RedisDriver) -> dict[int, list[str]]:
    by_node: dict[int, list[str]] = {}
    for number in range(40):
        _, port = driver._store.place(driver._keys(f"q{number}").body)
        by_node.setdefault(port, []).append(f"q{number}")
    return by_node


@pytest.mark.parametrize("how", [Redis.freeze, Redis.kill9], ids=["silent", "gone"])
def test_one_node_that_is_away_takes_its_own_queues_with_it_and_no_others(cluster, how):
    driver = make_driver(cluster.url, CLUSTER=True, TIMEOUT=1)
    names = queues_by_node(driver)
    away = cluster.nodes[1]
    bad = names[away.port][:5]
    good = [queue for port, queues in names.items() if port != away.port for queue in queues][:5]
    driver.push([job(queue=queue) for queue in [*bad, *good]])
    driver.join(worker(lease=8.0)._replace(queues=(bad[0], *good)))
    driver.patience = 1.0
    how(away)
    try:
        reserved: list[str] = []
        deadline = time.monotonic() + 12
        while len(reserved) < 5 and time.monotonic() < deadline:
            driver.push([job(queue=good[0])])
            for call in (lambda: driver.unacknowledged([]), lambda: driver.recover(10)):
                started = time.monotonic()
                _quietly(call)
                assert time.monotonic() - started < 1.0 + LATE
            _quietly(lambda: driver.promote((bad[0], *good)))
            found: list[str] = []
            _quietly(lambda found=found: found.extend(_reserve(driver, (bad[0], *good))))
            reserved += found
        assert len(reserved) >= 5
        with pytest.raises(QueueUnavailable) as caught:
            driver.push(jobs := [job(queue=bad[1]), job(queue=good[1])])
        assert caught.value.stored == {jobs[1].id}
    finally:
        if how is Redis.freeze:
            away.thaw()
        driver.close()


def _quietly(call: Callable[[], object]) -> None:
    try:
        call()
    except QueueUnavailable:
        time.sleep(0.1)


def _reserve(driver: RedisDriver, queues: tuple[str, ...]) -> list[str]:
    return [r.id for r in driver.exchange([], queues, 10).reservations]


def test_what_a_node_took_with_it_is_lost_after_the_lease_and_blocks_nobody_then(
    cluster,
):
    driver = make_driver(cluster.url, CLUSTER=True, TIMEOUT=0.5)
    names = queues_by_node(driver)
    away = cluster.nodes[1]
    bad = names[away.port][0]
    good = next(queues[0] for port, queues in names.items() if port != away.port)
    driver.join(worker(lease=2.0)._replace(queues=(bad, good)))
    driver.push([job(queue=queue) for queue in (bad, good, good)])
    held = driver.exchange([], (bad, good), 2).reservations
    assert [r.queue for r in held] == [bad, good]
    away.kill9()
    done = [Settlement(r) for r in held]
    with pytest.raises(QueueUnavailable):
        driver.exchange(done, (bad, good), 5)
    time.sleep(2.1)
    lost, more = driver.exchange(done, (bad, good), 5)
    assert held[0].id in lost
    assert [r.queue for r in more] == [good]
    assert driver.extend([held[0], *more]) == {held[0].id}
    returned = [Settlement(held[0], Verdict.RETURN), *(Settlement(r) for r in more)]
    assert driver.settle(returned) == {held[0].id}
    assert driver.counts(good)[:3] == (0, 0, 0)
    driver.close()


def replicated(server, name):
    """How far the stream of a primary has come."""
    info = server.cli("info", "replication").splitlines()
    return next(int(line.partition(":")[2]) for line in info if line.startswith(f"{name}:"))


@pytest.mark.slow
def test_a_primary_that_is_silent_is_asked_no_more_once_it_was_replaced(
    cluster,
):
    with Redis(cluster=True) as replica:
        driver = make_driver([node.url for node in cluster.nodes], CLUSTER=True, TIMEOUT=1)
        _, port = driver._store.place(driver._keys("default").body)
        primary = next(node for node in cluster.nodes if node.port == port)
        id = primary.cli("cluster", "myid").strip()
        other = f"{primary.host}:{primary.port}"
        replica.cli("config", "set", "repl-diskless-sync-delay", "0")
        primary.cli("config", "set", "repl-diskless-sync-delay", "0")
        me = f"{replica.host}:{replica.port}"
        replica.cli(
            "--cluster", "add-node", me, other, "--cluster-slave", "--cluster-master-id", id
        )
        wait_until(lambda: "master_link_status:up" in replica.cli("info", "replication"), 15)
        driver.push([job()])
        written = replicated(primary, "master_repl_offset")
        wait_until(lambda: replicated(replica, "slave_repl_offset") >= written)
        primary.freeze()
        try:
            started = time.monotonic()
            pushed = False
            while not pushed and time.monotonic() < started + 20:
                try:
                    driver.push([job()])
                    pushed = True
                except QueueUnavailable:
                    time.sleep(0.1)
            assert pushed
            assert len(driver.exchange([], ["default"], 10).reservations) == 2
        finally:
            primary.thaw()
            driver.close()
