"""What becomes of a dispatched job, asked later."""

from __future__ import annotations

import uuid

import pytest
from django.utils import timezone

from djqueue import dispatch_many, find, queues
from djqueue.drivers.base import Settlement, Verdict
from djqueue.errors import QueueError, QueueUnavailable, ResultNotStored, UnknownConnection
from djqueue.models import FailedJob
from djqueue.signals import job_cancelled
from tests.dispatch.jobs import Write

pytestmark = pytest.mark.django_db(databases=["default", "queue"])


def dispatched(**options):
    return Write("x").using(connection="database", **options).dispatch()


def reserve():
    (reservation,) = queues["database"].driver.session().exchange([], ["default"], 1).reservations
    return reservation


def settle(reservation):
    queues["database"].driver.session().exchange([Settlement(reservation, Verdict.REMOVE)], [], 0)


def test_status_follows_the_job():
    job = dispatched()
    assert job.status == "waiting"
    reservation = reserve()
    assert job.status == "running"
    settle(reservation)
    assert job.status == "unknown"
    assert dispatched(delay=60).status == "delayed"


def test_a_job_that_was_given_up_has_failed():
    job = dispatched()
    settle(reserve())
    FailedJob.objects.create(
        uuid=job.id,
        connection="database",
        queue="default",
        payload="",
        exception="",
        failed_at=timezone.now(),
    )
    assert job.status == "failed"


def test_a_job_is_found_again_by_its_id():
    job = dispatched(queue="mail")
    for again in (
        find(job.id),
        find(job.id.upper(), "database"),
        find(job.id, connection="database", queue="mail"),
    ):
        assert (again.id, again.status) == (job.id, "waiting")


def test_every_connection_is_asked_where_none_is_named(memory):
    job = Write().dispatch()
    assert find(job.id).status == "waiting"
    assert find(job.id, "database").status == "unknown"
    assert find(job.id).cancel() is True
    assert memory == []


def test_a_store_that_is_down_is_told_unless_another_has_the_job(memory):
    assert find(dispatched().id).status == "waiting"
    with pytest.raises(QueueUnavailable):
        _ = find(str(uuid.uuid4())).status


def test_what_is_no_id_is_refused():
    with pytest.raises(QueueError, match="'nonsense' is not the id of a dispatched job"):
        find("nonsense")
    with pytest.raises(UnknownConnection):
        find(str(uuid.uuid4()), "nowhere")


def test_nothing_is_kept_without_a_stored_result():
    job = dispatched()
    assert job.progress is None
    with pytest.raises(ResultNotStored, match=job.id):
        job.result(timeout=3)


@pytest.fixture
def cancelled():
    received = []

    def receive(sender, job, **kwargs):
        received.append((sender, job.id, job.name, job.queue, job.connection))

    job_cancelled.connect(receive)
    yield received
    job_cancelled.disconnect(receive)


def test_cancel_removes_a_waiting_job(cancelled):
    job = dispatched()
    assert job.cancel() is True
    assert job.status == "unknown"
    assert cancelled == [(Write, job.id, "test.bus.Write", "default", "database")]
    assert job.cancel() is False
    assert len(cancelled) == 1


def test_cancel_removes_a_running_job_and_its_outcome_is_ignored(cancelled):
    job = dispatched()
    reservation = reserve()
    assert find(job.id).cancel() is True
    exchange = queues["database"].driver.session().exchange([Settlement(reservation)], [], 0)
    assert exchange.lost == {job.id}
    assert len(cancelled) == 1


def test_clear_spares_what_runs():
    job = dispatched()
    reserve()
    dispatch_many(Write().using(connection="database") for _ in range(3))
    assert queues["database"].clear() == 3
    assert job.status == "running"
