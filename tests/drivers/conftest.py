"""A Redis that can be made to fail, and connections that fail over from it."""

from __future__ import annotations

import pytest
from django.test import override_settings

from djqueue import queues
from djqueue.signals import queue_failed_over
from tests.drivers import failover_support
from tests.services.proxy import Mode, Proxy


@pytest.fixture
def proxy(redis_server):
    """A proxy before the Redis server."""
    with Proxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def resilient(proxy):
    """Set up the connection `resilient`: redis, by way of the proxy, and then the database.

    Returns a function that changes keys of it for the test.
    """
    overrides = []

    def configure(**keys):
        override = override_settings(DJQUEUE=failover_support.djqueue(proxy, **keys))
        override.enable()
        overrides.append(override)

    failover_support.ran.clear()
    configure()
    yield configure
    proxy.mode = Mode.PASS
    for override in reversed(overrides):
        queues.close_all()
        override.disable()


@pytest.fixture
def switches():
    """What the signal said."""
    seen = []

    def receive(sender, **arguments):
        arguments.pop("signal")
        seen.append(arguments)

    queue_failed_over.connect(receive)
    yield seen
    queue_failed_over.disconnect(receive)
