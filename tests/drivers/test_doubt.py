"""Each driver says whether a push that failed may have been stored all the same."""

from __future__ import annotations

import sqlite3
import uuid

import pytest
from django.db import connections
from django.db.utils import load_backend

from djqueue.conf import ConnectionSettings
from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.beanstalkd import BeanstalkdDriver
from djqueue.drivers.database import DatabaseDriver
from djqueue.errors import QueueUnavailable
from tests import databases
from tests.drivers.redis_support import make_driver
from tests.faces import database
from tests.services.proxy import Mode, Proxy


def job():
    return OutgoingJob(str(uuid.uuid4()), "default", "shop.Pack", "{}")


def failure(driver):
    with pytest.raises(QueueUnavailable) as raised:
        driver.push([job()])
    return raised.value


# -- redis ---------------------------------------------------------------------------------------


@pytest.fixture
def redis(proxy):
    driver = make_driver(f"redis://{proxy.host}:{proxy.port}/0", TIMEOUT=0.5)
    driver.push([job()])
    yield driver
    driver.close()


@pytest.mark.redis
def test_redis_that_cannot_be_reached_has_stored_nothing(redis, proxy):
    redis.close()
    for mode in (Mode.REFUSE, Mode.STALL, Mode.DROP):
        proxy.mode = mode
        assert not failure(redis).ambiguous, mode


@pytest.mark.redis
@pytest.mark.parametrize("mode", [Mode.DROP, Mode.STALL])
def test_redis_that_did_not_answer_may_have_stored_the_job(redis, proxy, mode):
    proxy.mode = mode
    assert failure(redis).ambiguous
    proxy.mode = Mode.PASS
    redis.push([job()])


@pytest.mark.redis
def test_redis_that_refuses_has_stored_nothing(redis, redis_server):
    redis_server.cli("config", "set", "maxmemory", "1")
    try:
        assert not failure(redis).ambiguous
    finally:
        redis_server.cli("config", "set", "maxmemory", "0")


# -- beanstalkd ----------------------------------------------------------------------------------


@pytest.fixture
def beanstalkd(beanstalkd_server):
    with Proxy(beanstalkd_server.port) as proxy:
        options = {"PORT": proxy.port, "TIMEOUT": 0.5}
        driver = BeanstalkdDriver(ConnectionSettings("beanstalkd", "beanstalkd", options=options))
        driver.push([job()])
        yield proxy, driver
        driver.close()


@pytest.mark.beanstalkd
def test_beanstalkd_that_cannot_be_reached_has_stored_nothing(beanstalkd):
    proxy, driver = beanstalkd
    proxy.mode = Mode.REFUSE
    driver.close()
    assert not failure(driver).ambiguous


@pytest.mark.beanstalkd
@pytest.mark.parametrize("mode", [Mode.DROP, Mode.STALL])
def test_beanstalkd_that_did_not_answer_may_have_stored_the_job(beanstalkd, mode):
    proxy, driver = beanstalkd
    proxy.mode = mode
    assert failure(driver).ambiguous
    proxy.mode = Mode.PASS
    driver.push([job()])


# -- database ------------------------------------------------------------------------------------


@pytest.fixture
def proxied(db):
    """The database under test by way of a proxy, under another alias; the proxy and a driver."""
    settings = {**connections["default"].settings_dict}
    connections["other"].close()
    with Proxy(int(settings["PORT"])) as proxy:
        backend = load_backend(settings["ENGINE"])
        connections["other"] = backend.DatabaseWrapper({**settings, "PORT": proxy.port}, "other")
        options = {"DATABASE": "other"}
        yield proxy, DatabaseDriver(ConnectionSettings("proxied", "database", options=options))
        connections["other"].close()
        del connections["other"]


needs_a_server = pytest.mark.skipif(
    databases.vendor() == "sqlite", reason="SQLite has no server that could go away"
)


@needs_a_server
@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_database_that_cannot_be_reached_has_stored_nothing(proxied):
    proxy, driver = proxied
    proxy.mode = Mode.REFUSE
    assert not failure(driver).ambiguous
    proxy.mode = Mode.PASS
    driver.push([job()])


@needs_a_server
@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_database_that_broke_off_may_have_stored_the_job(proxied):
    proxy, driver = proxied
    driver.push([job()])
    for jobs in (1, 3):
        proxy.mode = Mode.DROP
        with pytest.raises(QueueUnavailable) as raised:
            driver.push([job() for _ in range(jobs)])
        assert raised.value.ambiguous
        proxy.mode = Mode.PASS
        driver.push([job()])  # on a new connection


@pytest.mark.skipif(databases.vendor() != "sqlite", reason="SQLite's lock is for all writers")
@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_locked_has_stored_nothing():
    driver = database()
    driver.push([job()])
    connections["default"].cursor().execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(connections["default"].settings_dict["NAME"], isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        assert not failure(driver).ambiguous
    finally:
        other.execute("ROLLBACK")
        other.close()
        connections["default"].close()
    driver.push([job()])
