"""An operator deletes a bound job of beanstalkd: it is counted, whatever dies in between."""

from __future__ import annotations

import pytest

from djqueue import batch, chain, queues
from djqueue.composition import removing
from djqueue.drivers.base import Settlement, Verdict
from djqueue.drivers.beanstalkd.inspection import BeanstalkdInspector
from djqueue.models import Outbox, Run
from djqueue.operations.changes import delete
from djqueue.operations.results import Target
from djqueue.testing import work
from tests.composition import jobs

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.beanstalkd]


@pytest.fixture
def queue(settings, beanstalkd_server):
    jobs.ran.clear()
    settings.DJQUEUE = {
        "CONNECTIONS": {
            "database": {"DRIVER": "database"},
            "tubes": {
                "DRIVER": "beanstalkd",
                "HOST": beanstalkd_server.host,
                "PORT": beanstalkd_server.port,
            },
        }
    }
    yield queues["tubes"]
    queues["tubes"].clear()
    queues["tubes"].close()


def target(queue):
    (job,) = queue.inspector.heads("default")
    return Target("tubes", "default", job.key)


def test_it_is_counted(queue):
    row = batch([jobs.number.bind(1)]).using(connection="tubes").dispatch()
    chain([jobs.number.bind(2), jobs.number.bind(3)]).using(connection="tubes").dispatch()
    assert len(delete([target(queue)]).changed) == 1
    row.refresh_from_db()
    assert (row.pending_jobs, row.finished) == (0, True)
    assert len(delete([target(queue)]).changed) == 1
    assert not Outbox.objects.exists()
    assert work("tubes") == 0


@pytest.mark.parametrize("deleted", [True, False])
def test_it_is_counted_if_the_process_dies(queue, monkeypatch, deleted):
    row = batch([jobs.number.bind(1)]).using(connection="tubes").dispatch()
    change = BeanstalkdInspector._change

    def die(*args):
        if deleted:
            assert change(*args)
        raise KeyboardInterrupt

    meant = target(queue)
    with monkeypatch.context() as dying:
        dying.setattr(BeanstalkdInspector, "_change", die)
        with pytest.raises(KeyboardInterrupt):
            delete([meant])
    work("tubes")
    row.refresh_from_db()
    assert (row.pending_jobs, row.finished) == (0, True)
    assert queue.size() == 0
    assert jobs.ran == []


def test_one_that_runs_or_was_taken_meanwhile_is_left(queue, monkeypatch):
    row = batch([jobs.number.bind(1)]).using(connection="tubes").dispatch()
    meant = target(queue)
    session = queue.driver.session(None)
    (held,) = session.exchange([], ["default"], 1).reservations
    assert not delete([meant]).changed
    session.settle([Settlement(held, Verdict.RELEASE, 0.0, True, "")])
    find = BeanstalkdInspector.find

    def taken_meanwhile(inspector, ids):
        found = find(inspector, ids)
        monkeypatch.setattr(BeanstalkdInspector, "find", find)
        (again,) = session.exchange([], ["default"], 1).reservations
        session.settle([Settlement(again, Verdict.RELEASE, 0.0, True, "")])
        return found

    meant = target(queue)
    monkeypatch.setattr(BeanstalkdInspector, "find", taken_meanwhile)
    assert not delete([meant]).changed
    row.refresh_from_db()
    assert row.pending_jobs == 1
    assert queue.size() == 1
    assert len(delete([target(queue)]).changed) == 1
    row.refresh_from_db()
    assert row.finished


def test_the_end_of_one_that_is_deleted_while_it_runs_is_counted_with_it(queue, monkeypatch):
    row = batch([jobs.number.bind(1)]).using(connection="tubes").dispatch()
    meant = target(queue)
    session = queue.driver.session(None)
    (held,) = session.exchange([], ["default"], 1).reservations
    counted = removing.write_removal

    def die(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(removing, "write_removal", die)
    with pytest.raises(KeyboardInterrupt):
        delete([meant], even_running=True)
    assert not Run.objects.filter(cancelled=True).exists()
    monkeypatch.setattr(removing, "write_removal", counted)
    delete([meant], even_running=True)
    row.refresh_from_db()
    assert row.finished
    assert session.settle([Settlement(held)]) == {held.id}
