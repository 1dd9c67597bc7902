"""Workers on Redis, in real processes."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest
import redis
from django.test import override_settings

from djqueue import dispatch_many, find, queues
from djqueue.models import FailedJob
from tests.app import jobs
from tests.services import RedisCluster
from tests.support import start_worker, wait_until

pytestmark = [pytest.mark.scenario, pytest.mark.redis, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def redis_queue(redis_aof_server):
    """Redis as the default connection, with nothing in it."""
    redis_aof_server.cli("flushall")
    with configured({"URL": redis_aof_server.url, "RETRY_AFTER": 4}):
        yield redis_aof_server


def configured(options: dict[str, Any]) -> Any:
    connections = {"redis": {"DRIVER": "redis", **options}, "sync": {"DRIVER": "sync"}}
    return override_settings(DJQUEUE={"DEFAULT": "redis", "CONNECTIONS": connections})


def drain(*arguments: object) -> str:
    """Run a worker until nothing is left; what it printed."""
    with start_worker("--stop-when-empty", *arguments) as worker:
        assert worker.wait(60) == 0
        return worker.output


def test_each_job_runs_once(ledger, redis_queue):
    dispatch_many(jobs.record.bind(number) for number in range(2000))
    both = ("--workers", 2, "--stop-when-empty")
    with start_worker(*both) as one, start_worker(*both) as two:
        assert one.wait(60) == two.wait(60) == 0
    assert sorted(map(int, ledger.details("end"))) == list(range(2000))
    assert queues["redis"].counts("default") == (0, 0, 0, None)


def test_jobs_run_in_order_of_priority_and_queue(ledger, redis_queue):
    jobs.record.using(queue="low", priority=100).dispatch(3)
    for number, priority in ((2, -5), (0, 100), (1, 7)):
        jobs.record.using(queue="high", priority=priority).dispatch(number)
    drain("--queue", "high,low")
    assert ledger.details("end") == ["0", "1", "2", "3"]


def test_a_retried_job_keeps_its_history(ledger, redis_queue):
    id = jobs.boom_thrice.dispatch().id
    drain()
    assert ledger.details("begin") == ["1", "2", "3"]
    row = FailedJob.objects.get()
    assert (str(row.uuid), row.connection, row.attempts) == (id, "redis", 3)
    assert row.history.count('"attempt":') == 3


def test_a_delayed_job_wakes_an_idle_worker_when_it_is_due(ledger, redis_queue):
    jobs.record.using(delay=1.0).dispatch(1)
    with start_worker("--sleep", 30):
        wait_until(lambda: ledger.lines("end"), 10)


def test_an_idle_worker_is_woken(ledger, redis_queue):
    with start_worker("--sleep", 30, "--queue", "one,two") as worker:
        wait_until(lambda: "one" in worker.output)
        jobs.record.using(queue="one").dispatch(0)
        wait_until(lambda: ledger.lines("end"))
        for number, queue in enumerate(["two", "one", "two"], 1):
            jobs.record.using(queue=queue).dispatch(number)
            wait_until(lambda number=number: len(ledger.lines("end")) == number + 1, 2.0)


def test_a_job_longer_than_its_lease_runs_once(ledger, redis_queue):
    jobs.record.dispatch(1, 9.0)
    with start_worker() as one, start_worker() as two:
        wait_until(lambda: ledger.lines("end"), 30)
        assert one.stop() == two.stop() == 0
    assert len(ledger.lines("begin")) == 1


def test_the_jobs_of_a_killed_worker_come_back(ledger, redis_queue):
    id = jobs.sturdy.dispatch(1, 3.0).id
    with start_worker() as first:
        wait_until(lambda: ledger.lines("begin"))
        first.kill()
        assert find(id).status == "running"
        with start_worker():
            wait_until(lambda: ledger.lines("end"), 30)
    assert [line.attempt for line in ledger.lines("begin")] == [1, 1]


def test_a_killed_child_costs_an_attempt_and_its_window_goes_on(ledger, redis_queue):
    dispatch_many(jobs.sturdy.bind(number, 0.02) for number in range(200))
    with start_worker("--stop-when-empty", "--workers", 2) as worker:
        wait_until(lambda: len(ledger.lines("end")) > 20)
        os.kill(worker.runners[0], signal.SIGKILL)
        assert worker.wait(60) == 0
    assert sorted(set(map(int, ledger.details("end")))) == list(range(200))


def test_a_restart_under_load_loses_nothing(ledger, redis_queue):
    dispatch_many(jobs.sturdy.bind(number, 0.002) for number in range(1500))
    with start_worker("--workers", 2) as worker:
        for count in (200, 600):
            wait_until(lambda count=count: len(ledger.lines("end")) > count, 30)
            redis_queue.restart()
            before = len(ledger.lines("end"))
            wait_until(lambda before=before: len(ledger.lines("end")) > before + 150, 5)
        wait_until(lambda: len(set(ledger.details("end"))) == 1500, 60)
        wait_until(lambda: queues["redis"].counts("default")[:3] == (0, 0, 0), 15)
        assert worker.stop() == 0
    assert not FailedJob.objects.exists()


def test_workers_run_on_a_cluster(ledger, redis_cluster):
    cluster = {"URL": redis_cluster.url, "CLUSTER": True, "QUEUE": "{work}"}
    arguments = ("--queue", "{work},two,three", "--sleep", 30)
    with configured(cluster), start_worker(*arguments) as worker:
        wait_until(lambda: "two" in worker.output)
        jobs.record.dispatch(0)
        for number in range(1, 300):
            jobs.record.using(queue=("two", "three")[number % 2]).dispatch(number)
        wait_until(lambda: len(ledger.lines("end")) == 300, 20)
        assert worker.stop() == 0
    assert sorted(map(int, ledger.details("end"))) == list(range(300))


def test_a_broken_body_is_one_failed_job_and_its_bytes_are_kept(ledger, redis_queue):
    ids = [jobs.record.dispatch(number).id for number in range(4)]
    with redis.Redis.from_url(redis_queue.url) as client:
        client.hset("djqueue:{default}:body", ids[1], b"{not json")
        client.hset("djqueue:{default}:body", ids[2], b"\xff\xfe\x00")
    drain()
    assert sorted(ledger.details("end")) == ["0", "3"]
    rows = {str(row.uuid): row for row in FailedJob.objects.all()}
    assert set(rows) == {ids[1], ids[2]}
    assert "{not json" in rows[ids[1]].payload
    assert rows[ids[1]].exception_class.endswith("InvalidPayload")
    assert queues["redis"].counts("default")[:3] == (0, 0, 0)


def test_a_key_of_another_type_stops_its_queue_and_not_the_worker(ledger, redis_queue):
    with redis.Redis.from_url(redis_queue.url) as client:
        client.set("djqueue:{bad}:ready", "text")
    dispatch_many(jobs.record.bind(number) for number in range(20))
    with start_worker("--queue", "bad,default") as worker:
        wait_until(lambda: len(ledger.lines("end")) == 20, 20)
        assert worker.stop() == 0
        assert worker.output.count("Queue bad is left out") == 1


def test_a_node_that_is_away_stops_no_worker_of_queues_elsewhere(ledger):
    """Its queue is known to all, and nobody here reads it."""
    with RedisCluster() as cluster:
        for node in cluster.nodes:
            node.cli("config", "set", "cluster-require-full-coverage", "no")
        with configured({"URL": cluster.url, "CLUSTER": True, "TIMEOUT": 1, "RETRY_AFTER": 8}):
            store = queues["redis"].driver._store
            places = {q: store.place(b"djqueue:{%b}:body" % q.encode()) for q in map(str, range(9))}
            here = next(queue for queue, place in places.items() if place != places["0"])
            jobs.record.using(queue="0").dispatch(-1)
            away = next(node for node in cluster.nodes if node.port == places["0"][1])
            with start_worker("--queue", here) as worker:
                jobs.record.using(queue=here).dispatch(0)
                wait_until(lambda: ledger.lines("end"), 20)
                away.kill9()
                for number in range(1, 9):
                    jobs.record.using(queue=here).dispatch(number)
                    wait_until(lambda n=number: len(ledger.lines("end")) == n + 1, 5)
                    time.sleep(0.5)
                assert worker.stop() == 0
