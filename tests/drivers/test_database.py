"""The database driver, on the database under test."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from djqueue.conf import ConnectionSettings
from djqueue.drivers.base import Driver
from djqueue.drivers.database import DatabaseDriver
from djqueue.models import Worker
from djqueue.testing import DriverContract

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _own_connection_ends_with_the_test(transactional_db):
    """A driver that joined has put a connection of its own in Django's place."""
    yield
    connections["default"].close()
    del connections["default"]


class TestContract(DriverContract):
    any_bytes = False

    def make_driver(self) -> Driver:
        return DatabaseDriver(ConnectionSettings("database", "database"))

    def kill_lease(self) -> None:
        past = timezone.now() - timedelta(seconds=1)
        Worker.objects.update(alive_until=past)
