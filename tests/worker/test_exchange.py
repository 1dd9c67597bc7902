"""What an exchange with the store tells the loop, in which order: no process and no waiting."""

from __future__ import annotations

import io
import selectors

import pytest
from django.db import DataError

from djqueue.conf import settings as current
from djqueue.drivers import clock, make_driver
from djqueue.drivers.base import Reservation
from djqueue.errors import QueueUnavailable
from djqueue.runner.decision import DONE, RETURNED, Action, Decision, Ending
from djqueue.runner.outcome import End, Outcome
from djqueue.worker.children.channel import WorkItem
from djqueue.worker.children.page import Running
from djqueue.worker.exchange import Exchanger, Got, NothingThere, Stored
from djqueue.worker.options import WorkerOptions
from djqueue.worker.report.report import Lines
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
    exchanger.add([End(JOB, SUCCESS)])
    facts = exchanger.step(clock.now(), 1, ["default"], busy=False)
    assert facts == [Got([]), Stored([End(JOB, SUCCESS)]), NothingThere()]
    assert list(map(type, facts)) == [Got, Stored, NothingThere]


def test_jobs_that_were_stopped_before_they_began_leave_room_for_others(exchanger):
    exchanger.begun = 3
    (end,) = exchanger.stopped([JOB])
    assert end.outcome.ending is Ending.CANCELLED
    assert exchanger.begun == 2


class Refusing(Empty):
    """Does not take what it is given, for what that is."""

    def exchange(self, settlements, queues, limit):
        if settlements:
            raise QueueUnavailable("It is too large.") from DataError()
        return super().exchange(settlements, queues, limit)


def test_nothing_is_kept_of_an_end_that_the_store_refuses(exchanger):
    exchanger._store.session = exchanger.finish._session = Refusing()
    exchanger.add([End(JOB, SUCCESS)])
    exchanger.step(clock.now(), 1, ["default"], busy=False)
    assert exchanger.is_done
    assert not exchanger.finish._ends


@pytest.mark.parametrize("as_json", [False, True])
def test_whatever_becomes_of_a_job_has_a_line(as_json):
    out = io.StringIO()
    report = Lines(OPTIONS, out, as_json=as_json, verbosity=1)
    report._terminal = True
    for action in Action:
        end = End(JOB._replace(id=action.value), Outcome(Ending.RAISED, Decision(action)))
        report.attempts_ended([end])
        report.jobs_ended([end])
    report.flush()
    lines = out.getvalue().splitlines()
    for action in Action:
        id = f'"id": "{action.value}"' if as_json else f" {action.value} "
        assert sum(id in line for line in lines) == 1


def test_a_job_that_runs_for_long_is_not_remembered_after_it():
    report = Lines(OPTIONS, None, as_json=False, verbosity=1)
    report.still_running([Long()], clock.now())
    assert report._shown == {JOB.id}
    report.attempts_ended([End(JOB, SUCCESS)])  # it may be lost: then its end is not announced
    assert not report._shown


class Long:
    """A process that has been at a job for a while."""

    def running(self):
        return WorkItem(0, JOB), Running(0, clock.now() - 1, 0, 0)
