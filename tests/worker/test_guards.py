"""Workers that are killed, on SQS and on stores without guard rows."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from djqueue import dispatch_many, queues
from djqueue.models import FailedJob, Run
from tests import services
from tests.app import jobs
from tests.app.models import Note
from tests.drivers.test_sqs import create
from tests.ledger import Ledger
from tests.support import start_worker, wait_until
from tests.torture import kills
from tests.torture.sizes import ATOMIC, JOBS, KILLS, size


def sqs(request: pytest.FixtureRequest) -> dict[str, Any]:
    server = request.getfixturevalue("sqs_server")
    name = f"killed-{uuid.uuid4().hex[:12]}"
    return {
        "DRIVER": "sqs",
        "URLS": {"default": create(server, name)},
        "ENDPOINT_URL": server.url,
        "REGION": server.region,
        "RETRY_AFTER": 5,
    }


def beanstalkd(request: pytest.FixtureRequest) -> dict[str, Any]:
    server = request.getfixturevalue("beanstalkd_binlog_server")
    return {"DRIVER": "beanstalkd", "HOST": server.host, "PORT": server.port, "RETRY_AFTER": 10}


STORES = {
    "sqs": (sqs, True),
    "sqs, no guard": (sqs, False),
    "beanstalkd, no guard": (beanstalkd, False),
}


@pytest.fixture(params=STORES)
def store(
    request: pytest.FixtureRequest, settings: object, transactional_db: None
) -> Iterator[str]:
    make, guard = STORES[request.param]
    connection = {**make(request), "GUARD": guard}
    settings.DJQUEUE = {"DEFAULT": "store", "CONNECTIONS": {"store": connection}}  # type: ignore[attr-defined]
    queues["store"].clear()
    yield request.param
    queues["store"].close()


def killed(store: str, *arguments: Any, **values: Any) -> None:
    try:
        print(store, kills.run(*arguments, kills=size(KILLS, 6), connection="store", **values))
    except AssertionError as error:
        # SQS says how often it delivered a message, and not why.
        if store != "sqs, no guard" or "Extra runs without a line" not in str(error):
            raise
        print(store, error)


def test_no_job_is_lost_when_processes_are_killed(store: str, ledger: Ledger) -> None:
    killed(store, ledger, jobs.sturdy, jobs=size(JOBS, 2_000) // 2, seed=6)
    assert not FailedJob.objects.exists()


def test_what_atomic_jobs_write_is_there_exactly_once(store: str, ledger: Ledger) -> None:
    many = size(ATOMIC, 800)
    killed(store, ledger, jobs.insert_note, jobs=many, seed=7, check_runs=False)
    notes = sorted(int(text) for text in Note.objects.values_list("text", flat=True))
    assert notes == list(range(many))
    assert not Run.objects.filter(ended=False).exclude(held_as="").exists()


def test_workers_go_on_when_their_server_was_killed(settings: Any, ledger: Ledger) -> None:
    with services.Beanstalkd(binlog=True) as server:
        place = {"HOST": server.host, "PORT": server.port, "RETRY_AFTER": 10}
        settings.DJQUEUE = {
            "DEFAULT": "store",
            "CONNECTIONS": {"store": {"DRIVER": "beanstalkd", **place}},
        }
        dispatch_many(jobs.sturdy.bind(number, 0.01) for number in range(500))
        with start_worker("--workers", 2, "--sleep", 1) as worker:
            for _ in range(2):
                before = len(ledger.lines("end"))
                wait_until(lambda b=before: len(ledger.lines("end")) > b + 50, what=worker.output)
                server.kill9()
                time.sleep(1)
                server.start()
                before = len(ledger.lines("end"))
                wait_until(lambda b=before: len(ledger.lines("end")) > b + 5, timeout=5)
            wait_until(lambda: len(set(ledger.details("end"))) == 500, timeout=40)
            wait_until(lambda: queues["store"].is_empty(), what=worker.output)
        extra = len(ledger.lines("begin")) - 500
        print(f"{extra} of 500 ran again after two kills of the server")
        assert extra <= 2 * 2, "one a child and kill"
        queues["store"].close()
    assert not FailedJob.objects.exists()
    # A deletion whose answer never came leaves a row behind, which gets old and is pruned.
    assert Run.objects.count() < 100
