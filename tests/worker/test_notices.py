"""What a child is told beside jobs keeps nobody waiting, and nobody else can say it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from djqueue import queues
from djqueue.conf import settings as djqueue_settings
from djqueue.drivers import clock, make_driver
from djqueue.finish.notices import Cancelled, Done, Failed, Released, Succeeded
from djqueue.models import FailedJob
from djqueue.runner.cleanup.stray_fork import StrayFork
from djqueue.runner.outcome import ErrorReport
from djqueue.runner.rules import Rules
from djqueue.runner.telling import Teller
from djqueue.runner.timer import Timer
from djqueue.worker.buffer import Buffer
from djqueue.worker.children.children import Children
from djqueue.worker.children.settings import ChildSettings
from djqueue.worker.notices import Prune, time_for
from tests.app import jobs
from tests.support import start_worker, wait_until
from tests.worker.stores import settings_of
from tests.worker.test_windows import reservations

pytestmark = pytest.mark.anywhere

FOREIGN = '{"Service":"Amazon S3","Event":"s3:TestEvent"}'


@pytest.mark.parametrize("store", ["sqs", "beanstalkd"])
def test_messages_of_another_program_keep_no_job_waiting(request, settings, ledger, store):
    settings.DJQUEUE = settings_of(store, request)
    queues["store"].clear()
    put = _raw(store)
    for _ in range(12):
        put(FOREIGN)
    for number in range(5):
        jobs.record.dispatch(number)
    with start_worker("--workers", 1, "--grace", 5) as worker:
        wait_until(lambda: len(ledger.lines("end")) == 5, timeout=20)
        wait_until(lambda: FailedJob.objects.count() == 12, timeout=20)
        assert worker.stop(timeout=10) == 0
        assert "ended its process" not in worker.output
    assert {row.payload for row in FailedJob.objects.all()} == {FOREIGN}
    queues["store"].close()


def _raw(store: str) -> Callable[[str], object]:
    """What puts a text into the queue as another program would."""
    options = djqueue_settings().connection("store").options
    if store == "sqs":
        import boto3

        client = boto3.client("sqs", endpoint_url=options["ENDPOINT_URL"])
        url = options["URLS"]["default"]
        return lambda text: client.send_message(QueueUrl=url, MessageBody=text)

    def put(text: str) -> None:
        command = f"use default\r\nput 100 0 60 {len(text)}\r\n{text}\r\nquit\r\n"
        with socket.create_connection(("127.0.0.1", options["PORT"]), 5) as talk:
            talk.sendall(command.encode())
            while talk.recv(1 << 16):
                pass

    return put


def test_a_notice_waits_outside_of_a_child_that_is_at_a_long_job(ledger):
    settings = ChildSettings("null", "test", ("default",), Rules(), 0)
    children = Children(1, settings, make_driver(djqueue_settings().connection("null")))
    buffer = Buffer()
    try:
        (process,) = children.start_missing(clock.now() + 60)
        process.hand_over(reservations(1, 0.8))
        wait_until(lambda: ledger.lines("begin"))
        time.sleep(0.15)
        buffer.notices.append(Prune())
        buffer.hand_out_notices([process], clock.now())
        assert len(process.held) == len(buffer.notices) == 1
        wait_until(lambda: process.reports())
        buffer.hand_out_notices([process], clock.now())
        assert not buffer.notices
        wait_until(lambda: process.reports())
        assert not process.held
    finally:
        children.close()


@pytest.mark.parametrize("limit", [("--once",), ("--max-jobs", 1)])
def test_a_worker_ends_after_its_last_job_although_the_process_of_that_died(ledger, limit):
    jobs.exits.dispatch()
    with start_worker(*limit, "--workers", 1) as worker:
        assert worker.wait(timeout=10) == 0
    assert FailedJob.objects.count() == 1


def test_a_worker_that_may_take_nothing_after_a_failed_job_sleeps(ledger):
    jobs.boom.dispatch()
    with start_worker("--rest", 60) as worker:
        wait_until(FailedJob.objects.exists)
        time.sleep(0.5)
        before = _processor_time(worker.pid)
        time.sleep(1)
        assert _processor_time(worker.pid) - before < 0.2


def test_each_success_of_a_notice_has_the_time_of_one():
    teller = Teller("null", Rules(timeout=7.0), Timer(), StrayFork())
    done = Done("a", "app.record", "default", 1, 0.1)
    (job,) = reservations(1, 0.0)
    assert time_for(Succeeded((done,)), teller, 60.0) == 60
    assert time_for(Succeeded((done,) * 20), teller, 60.0) == 1200
    assert time_for(Prune(), teller, 60.0) == 60
    assert time_for(Cancelled("a", "app.record", "default", 1, ""), teller, 60.0) == 60
    assert time_for(Failed(job, ErrorReport("ValueError", "no", "")), teller, 60.0) == 7
    assert time_for(Released(job, None, 0.0), teller, 60.0) == 7


def _processor_time(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
