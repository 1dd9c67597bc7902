"""The zone of a database's session and of the project changes nothing that djqueue knows."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone

import pytest
from django.core.management import call_command
from django.test import override_settings

from djqueue.dispatch import controls
from djqueue.drivers import parking
from djqueue.drivers.base import OutgoingJob, State, WorkerIdentity
from djqueue.drivers.guard import Delivery
from djqueue.drivers.guard.table import Table
from djqueue.models import Outbox, QueuedJob, Run, Worker
from djqueue.operations.reports.queues import status
from tests import elsewhere
from tests.faces import database

pytestmark = pytest.mark.django_db(transaction=True)


def job(delay: float = 0.0) -> OutgoingJob:
    return OutgoingJob(str(uuid.uuid4()), "default", "app.record", "{}", delay)


@pytest.fixture(params=["+09:00", "-05:00"])
def zoned(request):
    """A driver on a server whose sessions have that zone."""
    settings = {"OPTIONS": {"init_command": f"SET time_zone = '{request.param}'"}}
    with elsewhere.default_is(settings):
        yield database()


def is_now(moment: datetime | None) -> bool:
    return moment is not None and abs(moment - datetime.now(timezone.utc)) < timedelta(seconds=30)


@pytest.mark.mariadb
def test_jobs_and_workers_stand_where_they_stand(zoned):
    zoned.push([job(), job(), job(3600)])
    zoned.join(WorkerIdentity("worker", "host", 1, ("default",), 20.0))
    (held,) = zoned.exchange([], ["default"], 1).reservations
    assert zoned.counts("default")[:3] == (1, 1, 1)
    assert is_now(zoned.counts("default").oldest_at)
    assert zoned.peek("default", State.STUCK) == []
    assert zoned.release("default", [held.id]) == 0
    (one,) = status.report("database").queues
    assert (one.workers, one.stuck) == (1, 0)
    Worker.objects.update(alive_until=datetime.now(timezone.utc) - timedelta(seconds=1))
    assert [stuck.id for stuck in zoned.peek("default", State.STUCK)] == [held.id]
    assert zoned.make_due("default") == 1
    assert zoned.counts("default")[:3] == (2, 0, 1)
    assert all(map(is_now, QueuedJob.objects.values_list("available_at", flat=True)))


@pytest.mark.mariadb
def test_all_other_rows_are_of_now_too(zoned):
    controls.pause("database", "default", for_=60)
    assert controls.is_paused("database", "default")
    assert controls.read("database")[0] == {"default"}
    parking.park("default", "redis", [job(5)])
    row = Outbox.objects.get()
    assert is_now(row.created_at)
    assert is_now(row.due_at)
    Table("default").insert([Delivery(str(uuid.uuid4()), "1")])
    assert is_now(Run.objects.get().updated_at)


@pytest.mark.postgresql
@override_settings(USE_TZ=False, TIME_ZONE="Asia/Seoul")
def test_without_zones_operators_see_the_same(capsys):
    with elsewhere.default_is({}):
        driver = database()
        driver.push([job(), job(3600)])
        assert is_now(driver.counts("default").oldest_at)
        (waiting,) = driver.peek("default", State.WAITING)
        assert is_now(waiting.available_at)
        (one,) = status.report("database").queues
        assert one.oldest is not None
        assert one.oldest < 30
        call_command("queue_status", "--json")
        assert "default" in capsys.readouterr().out
