"""Every driver, with an outbox and without, late and soon, in a transaction and outside: the job is
in exactly one place, and runs from there.
"""

from __future__ import annotations

import uuid
from contextlib import nullcontext
from itertools import product

import boto3
import pytest
from django.db import transaction

from djqueue import find, queues
from djqueue.drivers.sqs import SqsDriver
from djqueue.models import Outbox
from tests.app import jobs

pytestmark = [pytest.mark.django_db(transaction=True)]

DELAYS = (0, 5, 600, 3600)
STORES = ("database", "redis", "beanstalkd", "sqs", "sqs fifo", "failover")


@pytest.fixture
def store(request, settings):
    """Set up one connection of that kind; returns the name of its queue."""
    kind, written = request.param
    queue = f"place-{uuid.uuid4().hex[:10]}"
    more = {}
    if kind == "database":
        keys = {"DRIVER": "database"}
    elif kind == "redis":
        keys = {"DRIVER": "redis", "URL": request.getfixturevalue("redis_server").url}
        keys["PREFIX"] = queue
    elif kind == "beanstalkd":
        server = request.getfixturevalue("beanstalkd_server")
        keys = {"DRIVER": "beanstalkd", "HOST": server.host, "PORT": server.port}
    else:
        server = request.getfixturevalue("sqs_server")
        queue += ".fifo" if kind == "sqs fifo" else ""
        boto3.client("sqs", endpoint_url=server.url).create_queue(
            QueueName=queue, Attributes={"FifoQueue": "true"} if queue.endswith("fifo") else {}
        )
        keys = {"DRIVER": "sqs", "ENDPOINT_URL": server.url, "PREFIX": server.prefix, "WAIT": 0}
        if kind == "failover":
            more = {"member": keys, "spare": {"DRIVER": "database"}}
            keys = {"DRIVER": "failover", "CONNECTIONS": ["member", "spare"]}
    settings.DJQUEUE = {
        "DEFAULT": "here",
        "CONNECTIONS": {"here": {**keys, "QUEUE": queue, "OUTBOX": written}, **more},
    }
    yield queue
    queues.close_all()


def places():
    """How many copies of one job there are: those that are stored, and rows."""
    rows = Outbox.objects.count()
    return queues["here"].size() - (rows if _counts_rows() else 0), rows


def _counts_rows():
    driver = queues["here"].driver
    return isinstance(driver, SqsDriver) or bool(driver.members)


KINDS = [(kind, written) for kind in STORES for written in (True, False)]


@pytest.mark.parametrize("store", KINDS, indirect=True, ids=lambda it: f"{it[0]}-{it[1]}")
def test_a_job_is_in_exactly_one_place(store):
    for count, (delay, inside) in enumerate(product(DELAYS, (True, False)), 1):
        job = jobs.record.using(delay=delay)
        with transaction.atomic() if inside else nullcontext():
            job.dispatch(delay)
        assert sum(places()) == count, f"{delay} s: {places()}"
    assert all(row.parked for row in Outbox.objects.all())
    ids = list(Outbox.objects.values_list("uuid", flat=True))
    assert len(set(ids)) == len(ids)


@pytest.mark.sqs
@pytest.mark.parametrize("store", [("sqs", True)], indirect=True)
def test_a_parked_job_is_delayed_and_can_be_cancelled(store):
    with transaction.atomic():
        first = jobs.record.using(delay=3600).dispatch(1)
    second = jobs.record.using(delay=3600).dispatch(2)
    for dispatched in (first, second, find(first.id)):
        assert dispatched.status == "delayed"
    assert find(second.id).cancel()
    assert first.cancel()
    assert first.status == "unknown"
    assert places() == (0, 0)
