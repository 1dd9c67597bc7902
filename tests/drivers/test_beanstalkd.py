"""The beanstalkd driver, on a real server with and without a binlog."""

from __future__ import annotations

from typing import Any

import pytest

from djqueue.conf import ConnectionSettings
from djqueue.drivers.base import Driver, Reservation
from djqueue.drivers.beanstalkd import BeanstalkdDriver
from djqueue.testing import DriverContract
from tests import services

pytestmark = [pytest.mark.beanstalkd, pytest.mark.django_db(transaction=True)]


class Looking(BeanstalkdDriver):
    """Finds what others left behind when it is asked for it: a worker's next exchange does."""

    tube = "default"

    def recover(self, limit: int) -> list[Reservation]:
        self.exchange([], [self.tube], limit)
        return super().recover(limit)


def connection(server: services.Beanstalkd, **options: Any) -> ConnectionSettings:
    retry_after = options.pop("RETRY_AFTER", 10)
    values = {"HOST": server.host, "PORT": server.port, **options}
    return ConnectionSettings("bean", "beanstalkd", retry_after=retry_after, options=values)


class OnBeanstalkd(DriverContract):
    lease = 2.0
    options: dict[str, Any] = {}

    @pytest.fixture(autouse=True)
    def _server(self, beanstalkd_server: services.Beanstalkd) -> None:
        self.server = beanstalkd_server

    def make_driver(self) -> Driver:
        return BeanstalkdDriver(connection(self.server, **self.options))

    def kill_lease(self) -> None:
        """Cut the connections: that ends reservations at once. Their time alone does not always,
        since the server sometimes forgets connections that say nothing any more.
        """
        for driver in self.__dict__.get("_drivers", []):
            driver.close()

    @pytest.mark.skip("beanstalkd tells the age of the job that is next, whatever its priority")
    def test_the_oldest_waiting_job_tells_since_when(self) -> None: ...


class TestContract(OnBeanstalkd):
    def make_driver(self) -> Driver:
        driver = Looking(connection(self.server, **self.options))
        driver.tube = self.queue
        return driver


class TestContractWithoutGuard(OnBeanstalkd):
    options = {"GUARD": False}


class TestContractWithBinlog(TestContract):
    @pytest.fixture(autouse=True)
    def _server(self, beanstalkd_binlog_server: services.Beanstalkd) -> None:
        self.server = beanstalkd_binlog_server
