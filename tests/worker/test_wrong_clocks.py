"""A store's clock that is set forward makes nobody dead."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple
from unittest import mock

import pytest

from djqueue import queues
from tests import databases, elsewhere, services
from tests.app import jobs
from tests.services.clock import IS_POSSIBLE, Clock, clocks
from tests.support import start_worker, wait_until

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.skipif(not IS_POSSIBLE, reason="needs Linux, Python 3.11 and a C compiler"),
    pytest.mark.skipif(databases.vendor() != "sqlite", reason="has servers of its own"),
]

LEASE = 2.0


class Place(NamedTuple):
    connection: str
    workers: dict[str, str]
    """Variables of the workers' environment."""


def _sqlite(settings: Any, clock: Clock, stack: ExitStack) -> Place:
    """Its clock is that of the processes that use it: they are on one machine."""
    settings.DJQUEUE = {"CONNECTIONS": {"database": {"DRIVER": "database", "RETRY_AFTER": LEASE}}}
    return Place("database", clock.environment)


def _postgresql(settings: Any, clock: Clock, stack: ExitStack) -> Place:
    with mock.patch.dict(os.environ, clock.environment):
        server = stack.enter_context(services.PostgreSQL(fsync=False))
    stack.enter_context(elsewhere.own_database(server))
    settings.DJQUEUE = {"CONNECTIONS": {"database": {"DRIVER": "database", "RETRY_AFTER": LEASE}}}
    return Place("database", {})


def _redis(settings: Any, clock: Clock, stack: ExitStack) -> Place:
    with mock.patch.dict(os.environ, clock.environment):
        server = stack.enter_context(services.Redis())
    place = {"DRIVER": "redis", "URL": server.url, "RETRY_AFTER": LEASE}
    settings.DJQUEUE = {"DEFAULT": "redis", "CONNECTIONS": {"redis": place}}
    stack.callback(queues.close_all)
    return Place("redis", {})


@pytest.fixture(params=[_sqlite, _postgresql, _redis], ids=["sqlite", "postgresql", "redis"])
def placed(request, settings, transactional_db):
    make: Callable[[Any, Clock, ExitStack], Place] = request.param
    with clocks() as made, ExitStack() as stack:
        clock = made.make()
        yield make(settings, clock, stack), clock


def test_nobody_is_dead_because_a_store_s_clock_is_set_forward(placed, ledger):
    place, clock = placed
    jobs.beating.using(connection=place.connection).dispatch(1, 60.0)
    common = (place.connection, "--workers", 1, "--sleep", 0.5)
    with start_worker(*common, **place.workers) as one:
        wait_until(lambda: ledger.lines("begin"), 60)
        with start_worker(*common, **place.workers) as other:
            wait_until(lambda: "Stop with" in other.output, 60)
            time.sleep(1.2 * LEASE)
            clock.step(3600)
            time.sleep(1.5 * LEASE)
            assert len(ledger.lines("begin")) == 1
            one.kill_everything()
            wait_until(lambda: len(ledger.lines("begin")) == 2, 4 * LEASE)
            other.kill_everything()
