"""The driver that throws everything away, found as every driver is."""

from __future__ import annotations

import pytest

from djqueue.conf import ConnectionSettings, settings
from djqueue.conf.kinds import TEXT, Option
from djqueue.drivers import SHORT_NAMES, driver_class, make_driver
from djqueue.drivers.base import OutgoingJob, QueueCounts, Reservation, Settlement, State
from djqueue.drivers.local import NullDriver
from djqueue.errors import ConfigurationError
from tests.faces import Faces

JOB = OutgoingJob("an-id", "default", "shop.Send", "{}")
HELD = Reservation("an-id", "default", "shop.Send", "{}", 1, 0, "", None)


@pytest.fixture
def driver():
    return Faces(make_driver(settings().connection("null")))


def test_it_is_found_by_its_short_name_and_by_its_path():
    for name in ("null", SHORT_NAMES["null"]):
        assert driver_class(ConnectionSettings("x", name)) is NullDriver


def test_a_driver_knows_its_defaults():
    class Shelf(NullDriver):
        OPTIONS = {"SHELF": Option("left", TEXT)}

    assert Shelf(ConnectionSettings("x", "y")).settings.option("SHELF") == "left"


def test_what_is_pushed_is_gone(driver):
    driver.push([JOB])
    assert driver.exchange((), ["default"], 10) == (set(), [])
    assert driver.counts("default") == QueueCounts(0, 0, 0, None)
    assert driver.queues() == []
    assert driver.peek("default", State.WAITING) == driver.find(["an-id"]) == []
    assert driver.remove("default", ["an-id"]) == driver.release("default", ["an-id"]) == 0
    assert driver.clear("default") == 0


def test_nothing_is_held(driver):
    assert driver.exchange([Settlement(HELD)], ["default"], 1).lost == {"an-id"}
    assert driver.settle([Settlement(HELD)]) == driver.extend([HELD]) == {"an-id"}


def test_it_says_that_it_discards(driver):
    assert driver.capabilities.discards
    assert not driver.capabilities.inline


@pytest.mark.parametrize("name", ["nul", "os.path.join", "nothing.Here", "djqueue.drivers.base.X"])
def test_a_name_that_is_no_driver(name):
    with pytest.raises(ConfigurationError, match='"x"'):
        make_driver(ConnectionSettings("x", name))
