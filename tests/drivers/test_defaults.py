"""A driver's own keys: what the project leaves out has the default that the docs give."""

from __future__ import annotations

import pytest

from djqueue.conf.reader import read
from djqueue.drivers import make_driver

CONNECTIONS = {
    "database": {"DRIVER": "database"},
    "redis": {"DRIVER": "redis", "URL": "redis://127.0.0.1:1/0"},
    "beanstalkd": {"DRIVER": "beanstalkd"},
    "sqs": {"DRIVER": "sqs", "REGION": "eu-west-1"},
}


def window(data):
    return make_driver(read({"CONNECTIONS": {"x": data}}).connections["x"]).window


@pytest.mark.parametrize("data", CONNECTIONS.values(), ids=list(CONNECTIONS))
def test_a_window_is_as_large_as_the_driver_or_the_project_says(data):
    driver = make_driver(read({"CONNECTIONS": {"x": data}}).connections["x"])
    assert driver.window == driver.OPTIONS["WINDOW"].default
    assert window({**data, "WINDOW": 7}) == 7


def test_a_driver_without_the_key_has_windows_of_a_hundred():
    assert window({"DRIVER": "null"}) == 100
