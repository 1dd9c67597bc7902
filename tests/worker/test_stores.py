"""The same workers on every store."""

from __future__ import annotations

import contextlib
import time

import pytest

from djqueue import dispatch_many, find, queues
from djqueue.drivers.beanstalkd.client import put
from djqueue.models import FailedJob, Worker
from tests.app import jobs, untidy
from tests.support import run_command, start_worker, wait_until
from tests.torture.sizes import STORES
from tests.worker.stores import connection_to
from tests.worker.waking import free_child_is_woken_beside_a_busy_one


def drain(*arguments: object) -> str:
    with start_worker("--stop-when-empty", *arguments) as worker:
        assert worker.wait(60) == 0
        return worker.output


def test_jobs_run_in_order(store, ledger, settings):
    many = 50 if store == "sqs" else 300  # it keeps no order, and moto is slow
    if store == "sqs":
        settings.DJQUEUE["CONNECTIONS"]["store"]["RETRY_AFTER"] = 30
    dispatch_many(jobs.record.bind(number) for number in range(many))
    drain()
    ended = [int(number) for number in ledger.details("end")]
    assert (sorted(ended) if store == "sqs" else ended) == list(range(many))
    assert queues["store"].is_empty()


@pytest.mark.parametrize("store", ["beanstalkd"], indirect=True)
def test_a_body_whose_id_is_no_uuid_fails_and_those_around_it_run(store, ledger, settings):
    settings.DJQUEUE["UNKNOWN_JOB_GRACE"] = 0
    body = b"djq1 " + b"z" * 36 + b" n 0 60 -\n{}"
    jobs.record.dispatch(1)
    queues["store"].inspector._client.ask([put(body, 100_999, 0, 60)], use="default")
    jobs.record.dispatch(2)
    drain()
    assert ledger.details("end") == ["1", "2"]
    assert FailedJob.objects.get().payload == body.decode()
    assert queues["store"].is_empty()


def test_a_delayed_job_runs_when_it_is_due(store, ledger):
    with start_worker("--sleep", 1) as worker:
        wait_until(lambda: "Processing jobs" in worker.output)  # a start may take longer than 3 s
        began = time.monotonic()
        jobs.record.using(delay=3).dispatch(1)
        jobs.record.dispatch(2)
        wait_until(lambda: len(ledger.lines("end")) == 2)
    early, late = ledger.lines("begin")
    assert (early.detail, late.detail) == ("2", "1")
    assert late.at - began > 2  # some stores count in whole seconds


def test_a_failing_job_is_tried_as_often_as_it_says_and_kept(store, ledger):
    id = jobs.boom_thrice.dispatch().id
    with start_worker("--sleep", 0.2):
        wait_until(FailedJob.objects.exists)
    assert ledger.details("begin") == ["1", "2", "3"]
    row = FailedJob.objects.get()
    assert (str(row.uuid), row.connection, row.attempts) == (id, "store", 3)
    assert find(id).status == "failed"
    run_command("queue_retry", id, check=True)
    assert not FailedJob.objects.exists()
    assert queues["store"].size() == 1


def test_nothing_is_announced_before_it_is_stored(store, ledger):
    announced = {
        "succeeded": (untidy.heard_done, "app.heard_done", 0),
        "failed": (untidy.heard_failed, "app.heard_failed", 1),
        "released": (untidy.heard_released, "app.heard_released", 1),
    }
    for what, (one, name, failed) in announced.items():
        one.dispatch()
        with start_worker(overrides={"LOOKS_WHEN_ANNOUNCED": True}) as worker:
            wait_until(lambda what=what: ledger.lines(what), what=worker.output)
            assert worker.stop() == 0
        # On sqs what waits for its time is as invisible as what is reserved.
        held = 1 if (store, what) == ("sqs", "released") else 0
        assert ledger.details(what) == [str([name, held, failed])]


def test_an_idle_worker_is_woken(store, ledger, settings):
    # SQS is asked to wait where a call may: for an eighth of the lease.
    settings.DJQUEUE["CONNECTIONS"]["store"]["RETRY_AFTER"] = 30
    with start_worker("--sleep", 30) as worker:
        jobs.record.dispatch(1)
        wait_until(lambda: ledger.lines("end"), what=worker.output)
        wait_until(lambda: queues["store"].is_empty())
        jobs.record.dispatch(2)
        wait_until(lambda: len(ledger.lines("end")) == 2, timeout=3)


def test_a_job_twice_as_long_as_its_lease_runs_once(request, settings, ledger):
    """On all stores at the same time: one of them has leases of ten seconds."""
    connections = {store: connection_to(store, request) for store in STORES}
    settings.DJQUEUE = {"DEFAULT": STORES[0], "CONNECTIONS": connections}
    with contextlib.ExitStack() as stack:
        for store, connection in connections.items():
            jobs.record.using(connection=store).dispatch(store, 2.2 * connection["RETRY_AFTER"])
            for _ in range(2):
                stack.enter_context(start_worker(store, "--sleep", 1))
        wait_until(lambda: len(ledger.lines("end")) == len(STORES), timeout=45)
    assert sorted(ledger.details("begin")) == sorted(STORES)
    queues.close_all()


def test_a_free_child_is_woken_beside_a_busy_one(store, ledger):
    # SQS calls nobody who has something in hand.
    free_child_is_woken_beside_a_busy_one(ledger, 1 if store == "sqs" else 30)


@pytest.mark.scenario
@pytest.mark.parametrize("store", ["redis"], indirect=True)
def test_a_restart_ends_the_worker_of_another_store(store):
    with start_worker("--name", "alone") as worker:
        wait_until(lambda: Worker.objects.exists())
        run_command("queue_restart", "alone", check=True)
        assert worker.wait(3) == 0
