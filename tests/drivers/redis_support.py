"""What the tests of the Redis driver share."""

from __future__ import annotations

import uuid
from typing import Any

from djqueue.conf import ConnectionSettings
from djqueue.drivers.base import OutgoingJob, WorkerIdentity
from djqueue.drivers.redis import RedisDriver
from tests.faces import Faces


def make_driver(url: str | list[str] | None, **options: Any) -> Faces:
    """A driver with a prefix of its own unless one is given."""
    options = {"URL": url, "PREFIX": f"test-{uuid.uuid4().hex}", **options}
    return Faces(RedisDriver(ConnectionSettings("redis", "redis", options=options)))


def another(driver: Faces) -> Faces:
    """A second driver of the same connection."""
    return Faces(RedisDriver(driver.driver.settings))


def worker(name: str = "worker", lease: float = 20.0) -> WorkerIdentity:
    return WorkerIdentity(name, "host", 4711, ("default",), lease)


def job(**values: Any) -> OutgoingJob:
    values = {"queue": "default", "name": "shop.Pack", "payload": "{}", **values}
    return OutgoingJob(**{"id": str(uuid.uuid4()), **values})
