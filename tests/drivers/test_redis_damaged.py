"""The Redis driver among what others have written into its keys: that is one job's or queue's."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import pytest
import redis

from djqueue.drivers.base import FOREIGN, Reservation, Settlement, State, Verdict
from djqueue.drivers.redis import RedisDriver
from djqueue.drivers.redis.keys import Keys
from djqueue.errors import QueueUnavailable
from tests.drivers.redis_support import another, job, make_driver, worker

pytestmark = pytest.mark.redis

GARBAGE = [
    b"",
    b":",
    b"{not json",
    b"\xff\xfe\x00",
    b"x" * 200,
    b"0" * 28 + b"9999" + b"short",
    b"100000000000001176409000000000-1name",
    b"1:2:3",
    b"nan:nan:nan:nan:nan:nan:nan:nan",
    b"1:ab:-1:1e999:99999999999999999999:zz:inf:\xff",
    b"99999999999999999999:99999999999999999999:100000000000001:\xff\x00",
]


@pytest.fixture
def client(redis_server):
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def driver(redis_server):
    driver = make_driver(redis_server.url)
    driver.join(worker(lease=0.001))
    yield driver
    driver.close()


def keys(driver: RedisDriver) -> Keys:
    return driver._keys("default")


# -- bodies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", GARBAGE[:7], ids=range(7))
def test_a_broken_body_comes_back_whole_as_a_foreign_job(driver, client, body):
    jobs = [job() for _ in range(3)]
    driver.push(jobs)
    client.hset(keys(driver).body, jobs[1].id, body)
    held = driver.exchange([], ["default"], 10).reservations
    assert [r.id for r in held] == [each.id for each in jobs]
    assert [r.name for r in held] == ["shop.Pack", FOREIGN, "shop.Pack"]
    assert held[1].payload.encode("utf-8", "surrogateescape") == body
    assert driver.settle([Settlement(r) for r in held]) == set()
    assert driver.counts("default")[:3] == (0, 0, 0)


@pytest.mark.parametrize("state", ["waiting", "delayed", "reserved", "stuck"])
def test_broken_bodies_are_listed_found_and_deleted(driver, client, state):
    jobs = [job(delay=600 if state == "delayed" else 0) for _ in GARBAGE[:7]]
    driver.push(jobs)
    for each, body in zip(jobs, GARBAGE, strict=False):
        client.hset(keys(driver).body, each.id, body)
    if state in {"reserved", "stuck"}:
        holder = another(driver)
        holder.join(worker(lease=0.001 if state == "stuck" else 60))
        holder.exchange([], ["default"], 10)
        time.sleep(0.01)
    listed = driver.peek("default", State(state))
    assert {stored.id for stored in listed} == {each.id for each in jobs}
    assert len(driver.find([each.id for each in jobs])) == 7
    assert driver.search(jobs[0].id[:8])
    first = [each.id for each in jobs[:4]]
    assert driver.remove("default", first, even_running=True) == 4
    assert len(driver.find([each.id for each in jobs])) == 3
    if state == "stuck":
        assert driver.release("default", [each.id for each in jobs]) == 3
    if state != "reserved":
        driver.clear("default")
        assert driver.find([each.id for each in jobs]) == []


# -- the other values -----------------------------------------------------------------------------


def test_garbage_beside_a_job_costs_neither_the_job_nor_its_neighbours(driver, client):
    """A job is reserved, lost, taken over, put back and done, whatever is in one of its keys."""
    for garbage in GARBAGE:
        for spoil in SPOILED:
            driver.clear("default")
            jobs = [job() for _ in range(3)]
            driver.push(jobs)
            _put_back(driver, driver.exchange([], ["default"], 3).reservations)
            driver.exchange([], ["default"], 3)
            spoil(client, keys(driver), jobs[1].id, garbage)
            _look_everywhere(driver, [each.id for each in jobs])
            time.sleep(0.005)  # the leases of a millisecond are over
            held = driver.recover(10)
            assert {r.id for r in held} == {each.id for each in jobs}, (spoil, garbage)
            _put_back(driver, held)
            spoil(client, keys(driver), jobs[1].id, garbage)
            _look_everywhere(driver, [each.id for each in jobs])
            held = driver.exchange([], ["default"], 10).reservations
            assert {r.id for r in held} == {each.id for each in jobs}, (spoil, garbage)
            assert all(0 < r.attempt < 2**31 and 0 <= r.interruptions < 2**31 for r in held)
            assert all(driver.fence(r) < 2**53 for r in held)
            assert driver.settle([Settlement(r) for r in held]) == set()


def _body(client: redis.Redis, keys: Keys, id: str, garbage: bytes) -> None:
    client.hset(keys.body, id, garbage)


def _state(client: redis.Redis, keys: Keys, id: str, garbage: bytes) -> None:
    client.hset(keys.state, id, garbage)


def _held(client: redis.Redis, keys: Keys, id: str, garbage: bytes) -> None:
    if client.zscore(keys.leased, id) is not None:
        client.hset(keys.held, id, garbage)


def _not_held(client: redis.Redis, keys: Keys, id: str, garbage: bytes) -> None:
    client.hdel(keys.held, id)


def _score(client: redis.Redis, keys: Keys, id: str, garbage: bytes) -> None:
    for member in client.zrange(keys.ready, 0, -1):
        if member.endswith(id.encode()):
            client.zadd(keys.ready, {member: [-1, 0, float("inf"), 1e300][len(garbage) % 4]})


def _counters(client: redis.Redis, keys: Keys, id: str, garbage: bytes) -> None:
    client.set(keys.number, garbage)
    client.set(keys.fence, garbage)


def _wake(client: redis.Redis, keys: Keys, id: str, garbage: bytes) -> None:
    client.rpush(keys.wake, garbage)


def _dangling(client: redis.Redis, keys: Keys, id: str, garbage: bytes) -> None:
    client.zadd(keys.ready, {garbage: 1.0})
    client.zadd(keys.delayed, {garbage: 1.0, garbage + b"x": float("inf"), b"y": float("-inf")})
    client.zadd(keys.leased, {garbage: 1.0})
    client.hset(keys.held, garbage, garbage)
    client.sadd(keys.body.replace(b":{default}:body", b":queues"), garbage)


SPOILED: list[Callable[[redis.Redis, Keys, str, bytes], None]] = [
    _body,
    _state,
    _held,
    _not_held,
    _score,
    _counters,
    _wake,
    _dangling,
]


def _put_back(driver: RedisDriver, held: list[Reservation]) -> None:
    verdicts = (Verdict.RELEASE, Verdict.INTERRUPTED, Verdict.RETURN)
    settlements = [
        Settlement(r, verdict, history="h") for r, verdict in zip(held, verdicts, strict=True)
    ]
    assert driver.settle(settlements) == set()


def _look_everywhere(driver: RedisDriver, ids: list[str]) -> None:
    driver.promote(["default"])
    driver.counts("default")
    driver.queues()
    for state in State:
        driver.peek("default", state, 2)
    assert {stored.id for stored in driver.find(ids)} == set(ids)


def test_a_job_under_a_foreign_id_is_done_like_any_other(driver, client):
    driver.push([job()])
    (member,) = client.zrange(keys(driver).ready, 0, -1)
    for id in (b"\xff\xfe", b"no uuid", b"X" * 36):
        client.hset(keys(driver).body, id, b"theirs")
        client.zadd(keys(driver).ready, {member[:15] + id: 1.0})
    held = driver.exchange([], ["default"], 10).reservations
    assert len({uuid.UUID(r.id) for r in held}) == 4
    assert [r.payload for r in held if r.name == FOREIGN] == ["theirs"] * 3
    assert driver.extend(held) == set()
    assert driver.settle([Settlement(r, Verdict.RELEASE) for r in held]) == set()
    assert len(driver.peek("default", State.WAITING)) == 4
    held = driver.exchange([], ["default"], 10).reservations
    assert driver.settle([Settlement(r) for r in held]) == set()
    assert driver.counts("default")[:3] == (0, 0, 0)


# -- keys of another type -------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["body", "ready", "leased", "held", "state", "wake", "fence"])
def test_a_key_of_another_type_stops_one_queue_of_a_worker(driver, client, wrong, caplog):
    driver.push([job(queue=queue) for queue in ("bad", "good", "better") for _ in range(2)])
    held = driver.exchange([], ["bad"], 1).reservations
    key = getattr(driver._keys("bad"), wrong)
    client.delete(key)
    client.geoadd(key, (1, 1, "x")) if wrong not in {"ready", "leased"} else client.set(key, "x")
    done = [Settlement(r) for r in held]
    for _ in range(2):
        lost, found = driver.exchange(done, ["bad", "good", "better"], 3)
        assert lost == {r.id for r in held}
        assert [r.queue for r in found] == ["good", "good", "better"]
        assert driver.extend(found) == set()
        driver.promote(["bad", "good", "better"])
        driver.unacknowledged(found)
        driver.recover(1)
        driver.settle([Settlement(r, Verdict.RETURN) for r in found])
        assert driver.settle(done) == {r.id for r in held}
    assert caplog.text.count("Queue bad is left out") == 1
    with pytest.raises(QueueUnavailable, match="WRONGTYPE"):
        driver.exchange([], ["bad"], 1)
    if wrong in {"body", "ready", "wake"}:
        some = [job(queue="bad"), job(queue="good")]
        with pytest.raises(QueueUnavailable, match="WRONGTYPE") as caught:
            driver.push(some)
        assert caught.value.stored == {some[1].id}
        assert not caught.value.ambiguous


def test_names_of_queues_that_can_be_none_are_left_out(driver, client):
    names = f"{driver.settings.option('PREFIX')}:queues"
    driver.push([job()])
    client.sadd(names, b"\xff", b"", b"a b", b"}{", b"x" * 500)
    assert driver.queues() == ["default"]
    assert driver.recover(1) == []
    client.delete(names)
    client.set(names, "text")
    assert driver.recover(1) == []
    assert len(driver.exchange([], ["default"], 1).reservations) == 1
