"""Large payloads in Redis: no script and no answer grows with them beyond one of them."""

from __future__ import annotations

import time

import pytest

from djqueue.drivers.base import Settlement, State, Verdict
from tests.drivers.redis_support import another, job, make_driver, worker
from tests.services.proxy import Proxy

pytestmark = pytest.mark.redis

LARGE = "x" * 300_000
AT_ONCE = 4
"""So many of them pass the limit of bytes."""


@pytest.fixture
def scripts_run():
    return [0]


@pytest.fixture
def driver(redis_server, scripts_run):
    def count(data: bytes) -> None:
        scripts_run[0] += data.count(b"EVALSHA")

    with Proxy(redis_server.port, read=count) as proxy:
        driver = make_driver(f"redis://127.0.0.1:{proxy.port}/0")
        driver.join(worker(lease=0.001))
        yield driver
        driver.close()


def test_large_jobs_are_reserved_a_few_at_a_time_and_in_order(driver):
    jobs = [job(payload=LARGE) for _ in range(10)]
    small = [job() for _ in range(5)]
    driver.push([*jobs, *small])
    answers = [driver.exchange([], ["default"], 100).reservations for _ in range(4)]
    assert [len(answer) for answer in answers] == [AT_ONCE, AT_ONCE, 2 + 5, 0]
    ids = [r.id for answer in answers for r in answer]
    assert ids == [each.id for each in [*jobs, *small]]


def test_a_lower_queue_waits_until_the_large_jobs_of_a_higher_one_are_reserved(
    driver,
):
    driver.push([job(queue="low"), *(job(payload=LARGE) for _ in range(6))])
    (low,) = driver.exchange([], ["low"], 1).reservations
    driver.push([job(queue="low")])
    lost, held = driver.exchange([Settlement(low)], ["default", "low"], 100)
    assert lost == set()
    assert [r.queue for r in held] == ["default"] * AT_ONCE
    held = driver.exchange([], ["default", "low"], 100).reservations
    assert [r.queue for r in held] == ["default", "default", "low"]


def test_an_idle_worker_is_called_for_what_did_not_fit(driver):
    wakeup = driver.watch(["default"])
    assert wakeup is not None
    driver.push([job(payload=LARGE) for _ in range(6)])
    assert len(driver.exchange([], ["default"], 100).reservations) == AT_ONCE
    deadline = time.monotonic() + 2
    while not wakeup.arrived():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_job_above_the_limit_comes_alone(driver):
    driver.push([job(), job(payload="x" * 3_000_000), job()])
    answers = [driver.exchange([], ["default"], 100).reservations for _ in range(2)]
    assert [len(answer) for answer in answers] == [2, 1]


def test_large_jobs_are_looked_at_a_few_a_script(driver, scripts_run):
    jobs = [job(payload=LARGE) for _ in range(20)]
    ids = [each.id for each in jobs]
    driver.push(jobs)

    def scripts_for(action: object) -> int:
        before = scripts_run[0]
        assert callable(action)
        assert action() == 20
        return scripts_run[0] - before

    assert scripts_for(lambda: len(driver.find(ids))) == 20 // AT_ONCE
    assert scripts_for(lambda: len(driver.peek("default", State.WAITING, 20))) == 1 + 5
    held = [r for _ in range(5) for r in driver.exchange([], ["default"], 100).reservations]
    assert scripts_for(lambda: len(driver.unacknowledged([]))) == 20 // AT_ONCE
    time.sleep(0.01)
    other = another(driver)
    other.join(worker("other"))
    assert scripts_for(lambda: len(other.recover(100))) == 20 // AT_ONCE
    assert len(held) == 20
    driver.settle([Settlement(r, Verdict.RETURN) for r in other.unacknowledged([])])
    assert scripts_for(lambda: driver.remove("default", ids)) == 20 // AT_ONCE
    other.close()
