"""SQS that is silent, that has lost a queue, or that breaks off in the middle of an exchange; and
messages that nobody can run.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from django.db import transaction

from djqueue import find, queues
from djqueue.conf import ConnectionSettings
from djqueue.drivers.base import FOREIGN, OutgoingJob, Reservation, Settlement, Verdict
from djqueue.drivers.sqs import SqsDriver
from djqueue.drivers.sqs.session import SqsSession
from djqueue.errors import ConfigurationError, QueueUnavailable, Unsupported
from djqueue.finish.finish import Finish
from djqueue.models import FailedJob, Outbox, Run
from djqueue.runner.decision import Action, Decision, Ending
from djqueue.runner.outcome import End, ErrorReport, Outcome
from tests.app import jobs
from tests.services import Aws
from tests.services.aws import Act, Fault, Refusal
from tests.support import start_worker, wait_until

pytestmark = [pytest.mark.scenario, pytest.mark.sqs, pytest.mark.django_db(transaction=True)]

GONE = Refusal("com.amazonaws.sqs#QueueDoesNotExist")
DENIED = Refusal("AccessDeniedException", 403)


@pytest.fixture
def aws(sqs_server):
    with Aws(sqs_server) as aws:
        yield aws


@pytest.fixture
def create(sqs_server):
    def create() -> str:
        name = f"trouble-{uuid.uuid4().hex[:12]}"
        boto3.client("sqs", endpoint_url=sqs_server.url).create_queue(QueueName=name)
        return name

    return create


@pytest.fixture
def queue(create):
    return create()


@pytest.fixture
def driver(aws):
    given = {"ENDPOINT_URL": aws.url, "PREFIX": aws.prefix, "WAIT": 0}
    return SqsDriver(ConnectionSettings("sqs", "sqs", retry_after=60, options=given))


@pytest.fixture
def connected(settings, aws, queue):
    given = {
        "DRIVER": "sqs",
        "QUEUE": queue,
        "ENDPOINT_URL": aws.url,
        "PREFIX": aws.prefix,
        "REGION": aws.region,
        "RETRY_AFTER": 10,
    }
    settings.DJQUEUE = {"DEFAULT": "sqs", "CONNECTIONS": {"sqs": given}}
    return queue


def push(driver: SqsDriver, queue: str, count: int = 1) -> None:
    driver.push([OutgoingJob(str(uuid.uuid4()), queue, "a.B", "{}") for _ in range(count)])


def reserve(driver: SqsDriver, *queues: str, limit: int = 1) -> list[Reservation]:
    return driver.session().exchange([], queues, limit).reservations


def on(operation: str, fault: Fault | Refusal, *, queue: str = "", times: int = 1000) -> Act:
    left = [times]

    def act(called: str, body: dict[str, Any]) -> Fault | Refusal | None:
        if called != operation or queue not in body.get("QueueUrl", "") or not left[0]:
            return None
        left[0] -= 1
        return fault

    return act


# -- silence ---------------------------------------------------------------------------------------


def test_no_call_of_a_worker_waits_longer_than_its_patience(driver, aws, queue):
    push(driver, queue, 2)
    held = reserve(driver, queue, limit=2)
    aws.act = lambda operation, body: Fault.SILENT
    calls: list[Callable[[], object]] = [
        lambda: driver.session().exchange([], [queue], 10),
        lambda: driver.session().exchange([Settlement(held[0])], [queue], 10),
        lambda: driver.session().exchange([Settlement(held[0], Verdict.RELEASE)], [queue], 10),
        lambda: driver.session().extend(held),
        lambda: driver.inspector().counts(queue),
    ]
    for patience in (1.0, 0.5):  # it may change at any time: a worker that stops has less
        driver.patience = patience
        for call in calls:
            began = time.monotonic()
            with pytest.raises(QueueUnavailable):
                call()
            assert time.monotonic() - began < patience + 0.5


def test_an_exchange_of_many_requests_begins_none_when_its_time_is_over(driver, aws, queue):
    push(driver, queue, 10)
    held = reserve(driver, queue, limit=10)
    driver.patience = 0.5

    def slow(operation: str, body: dict[str, Any]) -> None:
        time.sleep(0.3)

    aws.act = slow
    began = time.monotonic()
    released = [Settlement(r, Verdict.RELEASE) for r in held[:5]]
    with pytest.raises(QueueUnavailable, match="too slow"):
        driver.session().exchange([*map(Settlement, held[5:]), *released], [queue], 10)
    assert time.monotonic() - began < 1.2


def test_what_was_settled_before_an_exchange_broke_off_is_not_lost(driver, aws, queue):
    push(driver, queue, 2)
    done, released = reserve(driver, queue, limit=2)
    settlements = [Settlement(done), Settlement(released, Verdict.RELEASE)]
    aws.act = on("ReceiveMessage", Refusal("ServiceUnavailable", 503), times=3)
    with pytest.raises(QueueUnavailable):
        driver.session().exchange(settlements, [queue], 10)
    exchange = driver.session().exchange(settlements, [queue], 10)
    assert exchange.lost == set()
    assert [r.id for r in exchange.reservations] == [released.id]


@pytest.mark.parametrize("verdict", [Verdict.REMOVE, Verdict.RELEASE])
def test_what_is_on_record_and_sqs_does_not_know_yet_is_not_lost(driver, aws, queue, verdict):
    """A worker gives signs of life for what it could not settle; it would take back the failed row
    of a job that is lost.
    """
    push(driver, queue)
    (held,) = reserve(driver, queue)
    aws.act = lambda operation, body: Refusal("ServiceUnavailable", 503)
    driver.patience = 2.0
    with pytest.raises(QueueUnavailable):
        driver.session().settle([Settlement(held, verdict)])
    assert driver.session().extend([held]) == set()
    aws.act = lambda operation, body: None
    assert driver.session().extend([held]) == set()
    assert driver.session().settle([Settlement(held, verdict)]) == set()
    assert len(reserve(driver, queue)) == (verdict is Verdict.RELEASE)


def test_a_late_release_is_parked_once_however_often_its_message_cannot_be_deleted(
    driver, aws, queue
):
    push(driver, queue)
    (held,) = reserve(driver, queue)
    late = Settlement(held, Verdict.RELEASE, delay=50_000.0)
    aws.act = on("DeleteMessageBatch", Refusal("ServiceUnavailable", 503))
    for _ in range(2):
        with pytest.raises(QueueUnavailable):
            driver.session().settle([late])
    aws.act = lambda operation, body: None
    assert driver.session().settle([late]) == set()
    row = Outbox.objects.get()
    assert (str(row.uuid), row.parked, row.reservation) == (
        held.id,
        True,
        driver.session().fence(held),
    )
    assert driver.inspector().counts(queue)[:3] == (0, 1, 0)


# -- somebody else has the job ---------------------------------------------------------------------


class InterruptedSession(SqsSession):
    """Something else happens before it settles."""

    meanwhile: Callable[[], object]

    def settle(self, settlements: Any) -> set[str]:
        self.meanwhile()
        return super().settle(settlements)


class Interrupted(SqsDriver):
    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__(settings)
        self._session = InterruptedSession(self._client, self._guard, 1, 0, self._park)


@pytest.mark.parametrize("late", ["before its row is written", "before the job is settled"])
def test_a_worker_that_was_too_late_leaves_the_failed_row_of_the_one_that_was_not(aws, queue, late):
    given = {"ENDPOINT_URL": aws.url, "PREFIX": aws.prefix, "WAIT": 0}
    settings = ConnectionSettings("sqs", "sqs", retry_after=1, options=given)
    first, second = Interrupted(settings), SqsDriver(settings)
    push(first, queue)
    (held,) = reserve(first, queue)
    wait_until(
        lambda: second.session().exchange([], [queue], 1) and second.session().has_orphans,
        timeout=20,
    )
    (taken_over,) = second.session().recover(1)
    if late == "before its row is written":
        fail(second, taken_over)
        first._session.meanwhile = lambda: None
    else:
        first._session.meanwhile = lambda: fail(second, taken_over)
    fail(first, held)
    row = FailedJob.objects.get()
    assert (str(row.uuid), row.reservation) == (held.id, second.session().fence(taken_over))
    assert first.session().fence(held) < row.reservation
    assert Run.objects.get().ended


def fail(driver: SqsDriver, held: Reservation) -> None:
    finish = Finish(driver.session(), "sqs")
    error = ErrorReport("ValueError", "no", "")
    finish.add([End(held, Outcome(Ending.RAISED, Decision(Action.FAIL), error))])
    finish.store_followed()


# -- a queue that is gone --------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [GONE, DENIED])
def test_a_queue_that_was_there_is_away_when_it_is_refused(driver, aws, queue, refusal):
    with pytest.raises(ConfigurationError):
        reserve(driver, "no-such-queue")
    assert reserve(driver, queue) == []
    aws.act = lambda operation, body: refusal
    with pytest.raises(QueueUnavailable, match=r"refuses .* Create the queue") as error:
        reserve(driver, queue)
    assert not error.value.ambiguous
    aws.act = lambda operation, body: None
    push(driver, queue)
    assert len(reserve(driver, queue)) == 1


def test_a_queue_that_is_refused_holds_up_no_other(driver, aws, queue, create):
    other = create()
    reserve(driver, queue, other)
    push(driver, other)
    aws.act = lambda operation, body: GONE if queue in body.get("QueueUrl", "") else None
    (held,) = reserve(driver, queue, other)
    assert held.queue == other


def test_what_runs_while_its_queue_goes_is_kept_and_settled(driver, aws, queue):
    push(driver, queue, 2)
    held = reserve(driver, queue, limit=2)
    aws.act = lambda operation, body: GONE
    assert driver.session().extend(held) == set()
    assert (
        driver.session().settle([Settlement(held[0]), Settlement(held[1], Verdict.RELEASE)])
        == set()
    )
    assert Run.objects.filter(ended=True).count() == 1


def test_a_worker_outlives_the_loss_of_its_queue(connected, aws, ledger):
    jobs.record.dispatch(1, 3.0)
    with start_worker("--sleep", 0.2) as worker:
        wait_until(lambda: ledger.lines("begin"), what=worker.output, timeout=30)
        aws.act = lambda operation, body: GONE
        wait_until(lambda: ledger.details("end") == ["1"], what=worker.output, timeout=30)
        wait_until(lambda: "Create the queue" in worker.output, what=worker.output)
        aws.act = lambda operation, body: None
        jobs.record.dispatch(2)
        wait_until(lambda: "2" in ledger.details("end"), what=worker.output, timeout=30)


# -- messages that nobody can run ------------------------------------------------------------------

_GOOD = "6f0f6f62-2f1f-4a4e-9d8c-0b5f0a3f7c11"


@pytest.mark.parametrize(
    "attribute",
    [
        None,
        "",
        "1",
        f"2 {_GOOD} 0 t name",
        f"1 {'x' * 36} 0 t name",
        f"1 {_GOOD.upper()} 0 t name",
        f"1 {_GOOD} 99999999999999999999 t name",
        f"1 {_GOOD} x t name",
        f"1 {_GOOD} 0 z name",
        f"1 {_GOOD} 0 b name",  # the body is no base64
        f"1 {_GOOD} 0 t {'n' * 400}",
        f"1 {_GOOD} 0 t a%00b",
        f"1 {_GOOD} 0 t name {'p' * 40}",
        f"1 {_GOOD} 0 t name {_GOOD} more",
    ],
)
def test_a_message_that_is_not_ours_is_handed_out_as_it_is(driver, sqs_server, queue, attribute):
    told = {"djqueue": {"DataType": "String", "StringValue": attribute}} if attribute else {}
    body = '{"Event": "s3:TestEvent", "text": "ä\u2028"}'
    boto = boto3.client("sqs", endpoint_url=sqs_server.url)
    url = driver._client.url(queue)
    boto.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=told)
    (held,) = reserve(driver, queue)
    assert (held.name, held.payload, held.attempt) == (FOREIGN, body, 1)
    assert driver.session().settle([Settlement(held)]) == set()


def test_messages_of_other_programs_fail_with_their_bytes_and_hold_up_no_job(
    connected, aws, sqs_server, ledger
):
    boto = boto3.client("sqs", endpoint_url=sqs_server.url)
    url = f"{sqs_server.prefix}/{connected}"
    for number in range(12):
        boto.send_message(QueueUrl=url, MessageBody=f'{{"Event": "s3:TestEvent{number}"}}')
        jobs.record.dispatch(number)
    with start_worker("--sleep", 0.2, "--workers", 1, "--grace", 5) as worker:
        wait_until(lambda: len(ledger.lines("end")) == 12, what=worker.output, timeout=40)
        wait_until(lambda: FailedJob.objects.count() == 12, what=worker.output, timeout=40)
        assert worker.stop(15) == 0
    assert sorted(FailedJob.objects.values_list("name", flat=True)) == [FOREIGN] * 12
    assert sorted(FailedJob.objects.values_list("payload", flat=True)) == sorted(
        f'{{"Event": "s3:TestEvent{number}"}}' for number in range(12)
    )


# -- what is parked --------------------------------------------------------------------------------


def test_a_parked_job_is_delayed_and_can_be_found_and_cancelled(connected):
    job = jobs.record.using(delay=7200).dispatch(1)
    assert find(job.id).status == job.status == "delayed"
    assert find(job.id).cancel() is True
    assert not Outbox.objects.exists()
    assert not Run.objects.exists(), "nobody can have begun it"


def test_what_is_on_its_way_to_sqs_is_cancelled_all_the_same(connected, ledger):
    """A worker has just taken the row: the message is stopped where it arrives."""
    job = jobs.record.using(delay=7200).dispatch(1)
    with transaction.atomic():
        row = Outbox.objects.get()
        Outbox.objects.all().delete()
    assert job.cancel() is True
    queues["sqs"].driver.push([OutgoingJob(job.id, row.queue, row.name, row.payload)])
    with start_worker("--stop-when-empty") as worker:
        assert worker.wait(60) == 0
    assert ledger.lines("begin") == []


def test_only_parked_jobs_can_be_found_and_deleted(driver, queue):
    push(driver, queue)
    parked = OutgoingJob(str(uuid.uuid4()), queue, "a.B", "{}", delay=5000.0)
    driver.push([parked])
    (found,) = driver.inspector().find([parked.id])
    assert (found.id, found.queue, found.state.value) == (parked.id, queue, "delayed")
    with pytest.raises(Unsupported):
        driver.inspector().find([parked.id, str(uuid.uuid4())])
    assert driver.inspector().remove(queue, [parked.id]) == 1
    with pytest.raises(Unsupported):
        driver.inspector().remove(queue, [parked.id])
