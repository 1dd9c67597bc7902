"""What an exchange with the store tells the loop, in which order: no process and no waiting."""

from __future__ import annotations

import selectors

import pytest

from djqueue.conf import settings as current
from djqueue.drivers import make_driver
from djqueue.drivers.base import Reservation
from djqueue.runner.decision import DONE, RETURNED
from djqueue.runner.outcome import End, Outcome
from djqueue.worker import clock
from djqueue.worker.exchange import Exchanger, Got, NothingThere, Stored
from djqueue.worker.options import WorkerOptions
from djqueue.worker.store.access import StoreAccess
from tests.worker.empty import Empty

OPTIONS = WorkerOptions("null", ("default",))
JOB = Reservation("a", "default", "app.record", "{}", 1, 0, "", None)
SUCCESS = Outcome(RETURNED, DONE, awaited=True)


@pytest.fixture
def exchanger():
    with selectors.DefaultSelector() as selector:
        access = StoreAccess(make_driver(current().connection("null")), OPTIONS, selector)
        access.session = Empty()
        access.join()
        yield Exchanger(access, "null")


def test_what_was_stored_is_known_before_that_nothing_is_there(exchanger):
    exchanger.add(JOB, SUCCESS)
    facts = exchanger.step(clock.now(), 1, ["default"], busy=False)
    assert facts == [Got([]), Stored([End(JOB, SUCCESS)]), NothingThere()]
    assert list(map(type, facts)) == [Got, Stored, NothingThere]
