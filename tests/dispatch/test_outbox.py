"""The outbox: written with the transaction, moved to its store by whoever comes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from djqueue import dispatch_many, queues
from djqueue.databases.now import UtcNow
from djqueue.dispatch.outbox import outbox
from djqueue.dispatch.outbox import rows as outbox_rows
from djqueue.drivers import parking
from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.sqs import SqsDriver
from djqueue.errors import QueueUnavailable
from djqueue.models import Outbox
from djqueue.testing import work
from tests.app import jobs
from tests.support import start_worker, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class OwnSqs(SqsDriver):
    """A project's own variant of a driver."""


@pytest.fixture(autouse=True)
def _connections(settings, beanstalkd_server):
    bean = {"DRIVER": "beanstalkd", "HOST": beanstalkd_server.host, "OUTBOX": True}
    settings.DJQUEUE = {
        "DEFAULT": "bean",
        "CONNECTIONS": {
            "bean": {**bean, "PORT": beanstalkd_server.port},
            "away": {**bean, "PORT": 1},
            "database": {"DRIVER": "database"},
        },
    }
    queues["bean"].clear()
    yield
    queues.close_all()


def make_due() -> None:
    """As if a minute had passed, and whoever held a row were dead."""
    Outbox.objects.update(due_at=UtcNow() - timedelta(seconds=60), taken_until=None)


def test_what_commits_leaves_the_outbox_for_its_store():
    with transaction.atomic():
        id = jobs.record.dispatch(1).id
        row = Outbox.objects.get()
        assert (str(row.uuid), row.connection, row.name) == (id, "bean", "app.record")
        assert queues["bean"].size() == 0
    assert not Outbox.objects.exists()
    assert queues["bean"].size() == 1


def test_what_rolls_back_leaves_nothing():
    with transaction.atomic():
        dispatch_many(jobs.record.bind(number) for number in range(3))
        assert Outbox.objects.count() == 3
        transaction.set_rollback(True)
    assert not Outbox.objects.exists()
    assert queues["bean"].size() == 0


def test_a_cancelled_job_leaves_the_outbox():
    with transaction.atomic():
        dispatched = jobs.record.dispatch(1)
        assert dispatched.cancel()
        assert not Outbox.objects.exists()
    assert queues["bean"].size() == 0


def test_outside_a_transaction_nothing_is_written():
    jobs.record.dispatch(1)
    assert not Outbox.objects.exists()
    assert queues["bean"].size() == 1


def test_what_its_store_did_not_take_waits_in_the_outbox():
    with transaction.atomic():
        jobs.record.using(connection="away").dispatch(1)
    assert Outbox.objects.count() == 1
    make_due()
    assert outbox.replay() == 0
    row = Outbox.objects.get()
    assert not outbox_rows.due("default", "away").exists(), "tried again at once"
    Outbox.objects.update(connection="bean")
    make_due()
    assert outbox.replay() == 1
    assert (queues["bean"].size(), Outbox.objects.count()) == (1, 0)
    assert row.payload


def test_nobody_moves_what_its_dispatcher_is_about_to_push():
    outbox.Written("default", "bean").write([OutgoingJob("1" * 32, "default", "a.B", "{}")])
    assert outbox.replay() == 0


def test_a_store_that_is_away_does_not_keep_others_waiting():
    for number, connection in enumerate(("away", "gone", "bean")):
        parking.park("default", connection, [OutgoingJob(f"{number}" * 32, "default", "a.B", "{}")])
    make_due()
    assert outbox.replay() == 1
    assert set(Outbox.objects.values_list("connection", flat=True)) == {"away", "gone"}
    with pytest.raises(QueueUnavailable):
        queues["away"].size()


def test_a_worker_finds_what_a_dead_dispatcher_left(ledger):
    with transaction.atomic():
        jobs.record.using(connection="away").dispatch(1)
        jobs.record.using(connection="away").dispatch(2)
    first, second = Outbox.objects.order_by("id")
    Outbox.objects.filter(pk=first.pk).update(connection="bean")
    Outbox.objects.filter(pk=second.pk).update(connection="database")
    make_due()
    with start_worker("bean", "--sleep", "0.2"):
        wait_until(lambda: ledger.details("end") == ["1"])
        wait_until(lambda: not Outbox.objects.exists(), timeout=20)
    assert queues["database"].size() == 1


@pytest.mark.parametrize(
    ("driver", "used"),
    [
        ("sqs", True),
        ("tests.dispatch.test_outbox.OwnSqs", True),
        ("database", False),
        ("redis", True),  # what follows from a job is on its way there
    ],
)
def test_workers_look_for_jobs_in_the_outbox_where_any_may_be(settings, driver, used):
    settings.DJQUEUE = {
        "DEFAULT": "one",
        "CONNECTIONS": {"one": {"DRIVER": driver, "PREFIX": "http://127.0.0.1:1/1"}},
    }
    assert outbox.in_use() is used


def test_work_moves_what_is_due(ledger):
    with transaction.atomic():
        jobs.record.using(connection="away").dispatch(1)
    Outbox.objects.update(connection="bean")
    make_due()
    assert work("bean") == 1
    assert ledger.details("end") == ["1"]
