"""Two names that differ only in case are two queues, on every database."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection

from djqueue import queues
from djqueue.dispatch import controls
from djqueue.drivers import parking
from djqueue.drivers.base import OutgoingJob, State
from djqueue.models import FailedJob, QueuedJob
from tests.faces import database

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def driver(transactional_db):
    yield database()
    connection.close()


def job(queue: str, delay: float = 0.0) -> OutgoingJob:
    return OutgoingJob(str(uuid.uuid4()), queue, "app.record", "{}", delay)


def test_jobs_of_the_other_one_are_not_touched(driver):
    driver.push([job("Mail"), job("Mail", 600), job("mail"), job("mail"), job("mail", 600)])
    assert {"Mail", "mail"} <= set(driver.queues())
    assert driver.counts("Mail")[:3] == (1, 1, 0)
    assert driver.counts("mail")[:3] == (2, 1, 0)
    assert len(driver.peek("Mail", State.WAITING)) == 1
    assert driver.make_due("Mail") == 1
    assert {each.queue for each in driver.exchange([], ["Mail"], 10).reservations} == {"Mail"}
    both = driver.exchange([], ["mail", "Mail"], 10).reservations
    assert [each.queue for each in both] == ["mail", "mail"]
    assert driver.clear("Mail") == 0
    assert QueuedJob.objects.filter(queue="mail").count() == 3
    assert FailedJob.objects.filter(queue="Mail").count() == 0


def test_one_is_paused_alone(driver):
    controls.pause("database", "Mail", reason="a")
    controls.pause("database", "mail", reason="b")
    assert controls.resume("database", "Mail") == 1
    assert not controls.is_paused("database", "Mail")
    assert controls.is_paused("database", "mail")
    assert controls.paused_queues("database") == controls.read("database")[0] == {"mail"}


def test_parked_jobs_are_counted_apart(driver):
    parking.park("default", queues["database"].name, [job("Mail", 5), job("mail", 5)])
    assert parking.count("default", "database", "Mail") == 1
    assert parking.clear("default", "database", "mail") == 1
