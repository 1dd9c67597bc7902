"""The Lua scripts: what they name, what they refuse, and that their fences hold something."""

from __future__ import annotations

import random
import re
import uuid
from typing import Any
from unittest import SkipTest

import pytest
import redis
from redis.crc import key_slot

from djqueue.drivers.base import Driver, Settlement, State, Verdict
from djqueue.drivers.redis import RedisDriver, scripts
from djqueue.drivers.redis.keys import Keys, keys_of
from djqueue.drivers.redis.scripts import Script
from djqueue.drivers.types import UniqueKey
from djqueue.errors import QueueUnavailable
from djqueue.testing.contract import DriverContract
from tests.drivers.redis_support import another, job, make_driver, worker

pytestmark = pytest.mark.redis

EVERY = [value for value in vars(scripts).values() if isinstance(value, Script)]


@pytest.fixture
def client(redis_server):
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def driver(redis_server):
    driver = make_driver(redis_server.url)
    yield driver
    driver.close()


def keys(driver: RedisDriver, queue: str = "default") -> Keys:
    return keys_of(str(driver.settings.option("PREFIX")), queue)


# -- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", EVERY, ids=lambda script: script.name)
def test_a_script_names_its_keys_and_arguments(script):
    text = script.text.decode()
    assert script.keys
    assert set(script.keys) <= set(Keys._fields)
    assert f"local {', '.join(script.keys)} = unpack(KEYS)" in text
    assert "-- Returns " in text
    if "ARGV" in text:
        assert "-- ARGV  " in text


@pytest.mark.parametrize("script", EVERY, ids=lambda script: script.name)
def test_a_script_parses_no_payload(script):
    assert not re.search(r"cjson|cmsgpack|struct|loadstring", script.text.decode())


@pytest.mark.parametrize("queue", ["default", "a.b-c_d", "mail{eu}", "{eu}", "x" * 80])
def test_all_keys_of_a_queue_are_in_one_slot(queue):
    assert len({key_slot(key) for key in keys_of("djqueue", queue)}) == 1


def test_no_two_queues_have_a_key_in_common():
    names = ["eu", "{eu}", "a{eu}", "{eu}a", "tagged", "{tagged}"]
    every = [key for name in names for key in keys_of("djqueue", name)]
    assert len(set(every)) == len(every)


# -- nothing is written before all that can fail has run ------------------------------------------


@pytest.mark.parametrize("wrong", [name for name in Keys._fields if name != "push"])
def test_a_key_of_another_type_costs_no_job(driver, client, wrong):
    held = _some_of_everything(driver)
    other = another(driver)
    other.join(worker("other"))
    key = getattr(keys(driver), wrong)
    client.delete(key)
    if wrong in {"number", "fence"}:
        client.rpush(key, "text")
    else:
        client.set(key, "text")
    before = _dump(client, driver)
    calls = (
        lambda: driver.push([job() for _ in range(3)]),
        lambda: driver.push([job(delay=60)]),
        lambda: driver.push_unique([job(unique=UniqueKey("shop.Pack:1", 60))]),
        lambda: driver.exchange([Settlement(held[0])], ["default"], 5),
        lambda: driver.exchange([], ["default"], 5),
        lambda: driver.settle([Settlement(held[0], Verdict.RELEASE)]),
        lambda: driver.settle([Settlement(held[1], Verdict.RELEASE, delay=5)]),
        lambda: driver.settle([Settlement(held[1], Verdict.INTERRUPTED, history="h")]),
        lambda: driver.promote(["default"]),
        lambda: other.recover(5),
        lambda: driver.release("default", [r.id for r in held]),
        lambda: driver.remove("default", [r.id for r in held], even_running=True),
        lambda: driver.clear("default"),
        lambda: driver.extend(held),
    )
    refused = 0
    for number, call in enumerate(calls):
        try:
            call()
        except QueueUnavailable:
            refused += 1
            assert _dump(client, driver) == before, f"call {number} wrote something and failed"
        before = _dump(client, driver)
    assert refused


def _some_of_everything(driver: RedisDriver) -> list:
    driver.join(worker(lease=0.001))
    driver.push([job() for _ in range(6)])
    driver.push([job(delay=0.001), job(delay=600)])
    (back,) = driver.exchange([], ["default"], 1).reservations
    driver.settle([Settlement(back, Verdict.RELEASE, history="h")])
    return driver.exchange([], ["default"], 3).reservations


def _dump(client: redis.Redis, driver: RedisDriver) -> dict[bytes, Any]:
    read = {
        b"hash": client.hgetall,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"list": lambda key: client.lrange(key, 0, -1),
        b"string": client.get,
        b"none": lambda key: None,
    }
    return {key: read[client.type(key)](key) for key in keys(driver)}


def test_arguments_that_are_no_numbers_cost_no_job(driver, client):
    held = _some_of_everything(driver)
    before = _dump(client, driver)
    used = keys(driver)
    token, id = held[0].handle, held[0].id
    for script, arguments in (
        (scripts.PUSH, ["name", "", "60", "id", "x", "0", "body"]),
        (scripts.PUSH, ["name", "", "60", "id", "100", "", "body"]),
        (scripts.PUSH, ["name", "", "soon", "id", "100", "0", "body"]),
        (scripts.EXCHANGE, ["x", "1000", "s", "w", "1000", id, token]),
        (scripts.EXCHANGE, ["10", "soon", "s", "w", "1000", id, token]),
        (scripts.EXCHANGE, ["10", "1000", "s", "w", "many", id, token]),
        (scripts.SETTLE, [id, token, "1", "soon", "1", "0", ""]),
        (scripts.EXTEND, ["soon", id, token]),
        (scripts.PROMOTE, ["many"]),
        (scripts.RECOVER, ["many", "1000", "s", "w", "1000", "0", "0"]),
        (scripts.RECOVER, ["10", "soon", "s", "w", "1000", "0", "0"]),
        (scripts.RECOVER, ["10", "1000", "s", "w", "many", "0", "0"]),
        (scripts.CLEAR, ["many"]),
    ):
        call = script.call(used, [used.push] if script is scripts.PUSH else [])
        with pytest.raises(redis.ResponseError):
            client.eval(script.text, call[2], *call[3:], *arguments)
        assert _dump(client, driver) == before, f"{script.name} wrote something and failed"


def test_random_operations_keep_every_job_in_one_place(driver, client):
    """Bodies, places and holders agree after every step, whatever the steps are."""
    dice = random.Random(4711)
    held, other = [], another(driver)
    driver.join(worker(lease=0.002))
    other.join(worker("other", lease=0.002))
    for _ in range(400):
        step = dice.randrange(9)
        if step < 3:
            delay = dice.choice([0, 0, 0.001, 600])
            body = dice.randbytes(dice.randrange(60)).decode("utf-8", "surrogateescape")
            jobs = [
                job(payload=body, delay=delay, priority=dice.randint(-100, 100)) for _ in range(3)
            ]
            driver.push(jobs)
        elif step == 3:
            held += driver.exchange([], ["default"], dice.randrange(5)).reservations
        elif step == 4 and held:
            verdict = dice.choice(list(Verdict))
            settlements = [Settlement(held.pop(dice.randrange(len(held))), verdict, delay=0.001)]
            held += driver.exchange(settlements, ["default"], 2).reservations
        elif step == 5:
            driver.promote(["default"])
        elif step == 6:
            held += other.recover(2)
        elif step == 7:
            ids = [found.id for found in driver.peek("default", dice.choice(list(State)), 2)]
            driver.remove("default", ids, even_running=dice.random() < 0.3)
        elif step == 8:
            driver.release("default", [r.id for r in held[:2]])
        _agree(client, keys(driver))


def _agree(client: redis.Redis, used: Keys) -> None:
    bodies = set(client.hkeys(used.body))
    ready = {member[15:] for member in client.zrange(used.ready, 0, -1)}
    delayed = {member[15:] for member in client.zrange(used.delayed, 0, -1)}
    leased, held = set(client.zrange(used.leased, 0, -1)), set(client.hkeys(used.held))
    assert leased == held
    assert len(ready) + len(delayed) + len(held) == len(bodies)
    assert ready | delayed | held == bodies
    assert set(client.hkeys(used.state)) <= bodies


# -- fences ---------------------------------------------------------------------------------------


class _Suite(DriverContract):
    """The contract's own tests, called by hand."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.prefix = f"test-{uuid.uuid4().hex}"

    lease = 0.3

    def make_driver(self) -> Driver:
        return make_driver(self.url, PREFIX=self.prefix).driver


FENCE = "string.sub(holders[i], 1, #token)"


@pytest.mark.parametrize(
    "script", [scripts.EXCHANGE, scripts.SETTLE, scripts.EXTEND], ids=lambda script: script.name
)
def test_the_contract_notices_when_a_fence_is_removed(script, redis_server, monkeypatch):
    text = script.text.decode()
    without = re.sub(rf"{re.escape(FENCE)} [~=]= token", "FENCE", text)
    without = without.replace("or FENCE", "").replace("and FENCE", "")
    assert without != text
    assert "FENCE" not in without
    broken = Script(script.name)
    vars(broken)["text"] = without.encode()
    monkeypatch.setattr(scripts, script.name.upper(), broken)
    assert _failures(redis_server.url)


def test_with_every_fence_the_same_tests_pass(redis_server):
    assert _failures(redis_server.url) == []


def _failures(url: str) -> list[str]:
    failed = []
    for name in dir(_Suite):
        if name.startswith(("test_a_stale", "test_extending")):
            suite = _Suite(url)
            try:
                getattr(suite, name)()
            except SkipTest:
                pass
            except AssertionError:
                failed.append(name)
            finally:
                suite.teardown_method()
    return failed
