"""Jobs in another store, all else in SQL: what happens to SQL keeps no worker from its jobs."""

from __future__ import annotations

import io
import time

import pytest
from django.core.management import call_command
from django.db import connection

from djqueue import queues
from djqueue.dispatch import controls
from djqueue.models import FailedJob, Worker
from djqueue.operations.reports.queues import status
from tests import elsewhere
from tests import ledger as ledgers
from tests.app import jobs
from tests.services import Proxy
from tests.services.proxy import Mode
from tests.support import start_worker, wait_until
from tests.worker.stores import connection_to

pytestmark = pytest.mark.scenario

STORES = ["redis", "sqs", "beanstalkd"]


@pytest.fixture
def default(postgresql_server, django_db_setup, django_db_blocker):
    """`default` on a PostgreSQL database of the test's own."""
    with django_db_blocker.unblock(), elsewhere.own_database(postgresql_server) as database:
        yield database


@pytest.fixture
def ledger(default):
    with ledgers.kept() as ledger:
        yield ledger


@pytest.fixture(params=STORES)
def store(request, settings, default):
    place = {**connection_to(request.param, request), "RETRY_AFTER": 5}
    if request.param == "beanstalkd":
        place["RETRY_AFTER"] = 10
    settings.DJQUEUE = {"DEFAULT": "store", "CONNECTIONS": {"store": place}}
    queues["store"].clear()
    yield request.param
    queues["store"].clear()
    queues.close_all()


def test_a_worker_gets_over_a_lost_sql_connection(store, ledger, postgresql_server):
    with start_worker() as worker:
        jobs.record.dispatch(0)
        wait_until(lambda: ledger.details("end") == ["0"], timeout=15)
        wait_until(Worker.objects.exists)
        postgresql_server.psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        connection.close()
        jobs.boom.dispatch()
        jobs.record.dispatch(1)
        wait_until(lambda: "1" in ledger.details("end"), timeout=15)
        wait_until(FailedJob.objects.exists, timeout=15)
        controls.pause("store", "default")
        wait_until(lambda: "default is paused" in worker.output, timeout=15)
        assert worker.stop(10) == 0


@pytest.mark.parametrize("store", ["redis"], indirect=True)  # others have guard rows there
def test_a_failed_job_runs_once_while_its_row_cannot_be_written(store, ledger, default):
    """Its end waits longer than a lease; good jobs do not wait for it."""
    with Proxy(default["PORT"]) as proxy:
        through = {"DATABASES": {"default": {**default, "PORT": proxy.port}}}
        with start_worker(overrides=through) as worker:
            jobs.record.dispatch(0)
            wait_until(lambda: ledger.details("end") == ["0"], timeout=15)
            proxy.mode = Mode.REFUSE
            jobs.boom.dispatch()
            wait_until(lambda: "boom" in ledger.details("begin"), timeout=15)
            jobs.record.dispatch(1)
            wait_until(lambda: "1" in ledger.details("end"), timeout=15)
            time.sleep(6)
            assert "FAIL" not in worker.output, "what is not stored is not announced"
            proxy.mode = Mode.PASS
            wait_until(FailedJob.objects.exists, timeout=20)
            wait_until(lambda: "FAIL" in worker.output)
            assert worker.stop(10) == 0
    assert set(ledger.count("begin").values()) == {1}


def test_operators_see_the_worker(store, ledger):
    with start_worker("--name", "seen") as worker:
        jobs.record.dispatch(0, 1.0)
        wait_until(lambda: ledger.lines("begin"), timeout=15)
        wait_until(Worker.objects.exists)
        (row,) = Worker.objects.all()
        assert (row.name, row.pid, row.connection) == ("seen", worker.pid, "store")
        (one,) = [each for each in status.report("store").queues if each.queue == "default"]
        assert one.workers == 1
        said = io.StringIO()
        call_command("queue_status", "store", stdout=said)
        # Other queues of this server may wait for their workers.
        lonely = [line for line in said.getvalue().splitlines() if "no worker" in line]
        assert not [line for line in lonely if "store:default" in line]
        worker.stop()
    assert not Worker.objects.exists()


def test_a_worker_ends_in_time_while_sql_is_silent(store, ledger, default):
    with Proxy(default["PORT"]) as proxy:
        through = {"DATABASES": {"default": {**default, "PORT": proxy.port}}}
        with start_worker("--grace", 2, overrides=through) as worker:
            jobs.record.dispatch(0)
            wait_until(lambda: ledger.details("end") == ["0"], timeout=15)
            proxy.mode = Mode.STALL
            time.sleep(1.5)
            began = time.monotonic()
            worker.stop(15)
            assert time.monotonic() - began < 4.5
