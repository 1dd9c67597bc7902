"""The Redis driver on a cluster of three nodes."""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from djqueue.conf import ConnectionSettings
from djqueue.drivers.base import Driver, Exchange, Reservation, Settlement, WorkerIdentity
from djqueue.drivers.redis import RedisDriver
from djqueue.drivers.redis.keys import keys_of
from djqueue.errors import QueueUnavailable
from djqueue.testing import DriverContract
from tests.drivers.redis_support import job, make_driver
from tests.services import RedisCluster
from tests.support import wait_until

pytestmark = pytest.mark.redis


class TestContract(DriverContract):
    @pytest.fixture(autouse=True)
    def _cluster(self, redis_cluster):
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


def move_slot(cluster: RedisCluster, key: bytes, *, pause: float = 0.0) -> None:
    """Move the slot of a key to the next node, a key at a time, as resharding does."""
    slot = key_slot(key)
    clients = {node.port: redis.Redis(port=node.port) for node in cluster.nodes}
    ids = {port: client.execute_command("CLUSTER", "MYID") for port, client in clients.items()}
    ports = sorted(clients)
    ranges = clients[ports[0]].execute_command("CLUSTER", "SLOTS")
    source = next(primary[1] for first, last, primary, *_ in ranges if first <= slot <= last)
    target = ports[(ports.index(source) + 1) % len(ports)]
    clients[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    clients[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    while keys := clients[source].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1):
        clients[source].execute_command("MIGRATE", "127.0.0.1", target, keys[0], 0, 5000)
        time.sleep(pause)
    for port in (target, source, *ports):
        clients[port].execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
    for client in clients.values():
        client.close()


def make_cluster_driver(cluster: RedisCluster, **options: Any) -> RedisDriver:
    return make_driver(cluster.url, CLUSTER=True, **options)


def test_a_moved_slot_is_followed(redis_cluster):
    driver = make_cluster_driver(redis_cluster)
    wakeup = driver.watch(["default"])
    assert wakeup is not None
    wakeup.set_idle(True)
    jobs = [job() for _ in range(20)]
    driver.push(jobs[:10])
    held = driver.exchange([], ["default"], 5).reservations
    move_slot(redis_cluster, driver._keys("default").body)
    driver.push(jobs[10:])
    assert driver.extend(held) == set()
    lost, more = driver.exchange([Settlement(r) for r in held], ["default"], 100)
    assert lost == set()
    assert [r.id for r in [*held, *more]] == [job.id for job in jobs]
    while wakeup.arrived():
        time.sleep(0.02)
    driver.push([job()])
    wait_until(wakeup.arrived, 5.0)
    driver.close()


class Load:
    """A pusher and two workers on three queues, until told to stop."""

    queues = ("one", "two", "three")

    def __init__(self, cluster: RedisCluster) -> None:
        self.prefix = f"test-{uuid.uuid4().hex}"
        self.drivers = [make_cluster_driver(cluster, PREFIX=self.prefix) for _ in range(3)]
        self.pushed: list[str] = []
        self.done: list[str] = []
        self.refusals: list[str] = []
        self.over = threading.Event()

    def push(self) -> None:
        while not self.over.is_set():
            for queue in self.queues:
                one = job(queue=queue)
                self.drivers[0].push([one])
                self.pushed.append(one.id)

    def work(self, number: int) -> None:
        driver = self.drivers[number]
        driver.join(WorkerIdentity(f"worker-{number}", "host", 1, self.queues, 60.0))
        held: list[Reservation] = []
        idle = 0
        while idle < 20 or not self.over.is_set():
            lost, held = self.exchange(driver, [Settlement(r) for r in held])
            assert lost == set()
            self.done.extend(r.id for r in held)
            idle = 0 if held else idle + 1
            time.sleep(0 if held else 0.01)

    def exchange(self, driver: RedisDriver, settlements: list[Settlement]) -> Exchange:
        try:
            return driver.exchange(settlements, self.queues, 20)
        except QueueUnavailable as error:
            self.refusals.append(str(error))
        # What it had settled or reserved before the refusal is known to the store.
        return Exchange(set(), driver.unacknowledged([]))


def test_slots_that_move_under_load_lose_nothing(redis_cluster):
    """Every job is pushed, reserved and settled while its queue's slot wanders between nodes."""
    load = Load(redis_cluster)
    with ThreadPoolExecutor(3) as pool:
        threads = [pool.submit(load.push), pool.submit(load.work, 1), pool.submit(load.work, 2)]
        try:
            for queue in load.queues * 4:
                move_slot(redis_cluster, keys_of(load.prefix, queue).body, pause=0.05)
        finally:
            time.sleep(0.5)
            load.over.set()
        for thread in threads:
            thread.result()
    assert len(load.pushed) > 100
    assert set(load.done) == set(load.pushed)
    assert not [text for text in load.refusals if "CROSSSLOT" in text]
    for driver in load.drivers:
        driver.close()


def test_a_dispatch_waits_while_nodes_send_it_in_a_circle():
    """Each says that the other one has the slot, as for a moment when a slot has moved."""
    with RedisCluster() as cluster:
        driver = make_cluster_driver(cluster)
        slot = key_slot(driver._keys("default").body)
        clients = {node.port: redis.Redis(port=node.port) for node in cluster.nodes}
        ids = {port: each.execute_command("CLUSTER", "MYID") for port, each in clients.items()}
        ranges = next(iter(clients.values())).execute_command("CLUSTER", "SLOTS")
        owner = next(primary[1] for first, last, primary, *_ in ranges if first <= slot <= last)
        other = next(port for port in clients if port != owner)
        clients[owner].execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[other])
        claim = ("CLUSTER", "SETSLOT", slot, "NODE", ids[other])
        later = threading.Timer(0.5, clients[other].execute_command, claim)
        later.start()
        driver.push([job()])
        later.join()
        assert driver.counts("default").waiting == 1
        driver.close()


def test_a_cluster_is_found_through_any_of_its_nodes(redis_cluster):
    urls = ["redis://127.0.0.1:1", redis_cluster.nodes[2].url]
    driver = make_driver(urls, CLUSTER=True)
    driver.push([job()])
    assert driver.counts("default").waiting == 1
    driver.close()


def test_a_node_that_is_away_stops_only_its_own_queues():
    with RedisCluster(aof=True) as cluster:
        for node in cluster.nodes:
            node.cli("config", "set", "cluster-require-full-coverage", "no")
        driver = make_cluster_driver(cluster)
        driver.counts("default")
        away = cluster.nodes[1]
        names = {}
        for number in range(50):
            queue = f"q{number}"
            here = driver._store.connection_to(driver._keys(queue).body)
            here.run((b"PING",))
            names[queue] = here.descriptor() and here._connection.port
            here.close()
        there = next(queue for queue, port in names.items() if port == away.port)
        elsewhere = next(queue for queue, port in names.items() if port != away.port)
        driver.push([job(queue=there), job(queue=elsewhere)])
        away.kill9()
        with pytest.raises(QueueUnavailable):
            driver.counts(there)
        assert driver.counts(elsewhere).waiting == 1
        away.start()
        wait_until(lambda: "cluster_state:ok" in away.cli("cluster", "info"), 10.0)
        assert driver.counts(there).waiting == 1
        driver.close()
