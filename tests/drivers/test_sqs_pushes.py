"""One push is one job, whatever SQS, its library or a lost answer make of it; and what a push that
failed has stored all the same.
"""

from __future__ import annotations

import uuid
from typing import Any

import boto3
import pytest

from djqueue.conf import ConnectionSettings
from djqueue.drivers.base import OutgoingJob, Settlement, Verdict
from djqueue.drivers.sqs import SqsDriver
from djqueue.errors import QueueUnavailable
from djqueue.models import FailedJob, Outbox, Run
from djqueue.operations import retrying
from djqueue.payload.ids import new_push_id
from tests import services
from tests.app import jobs
from tests.services import Aws
from tests.services.aws import Act, Fault, Refusal
from tests.support import start_worker, wait_until

pytestmark = [pytest.mark.sqs, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def aws(sqs_server):
    with Aws(sqs_server) as aws:
        yield aws


@pytest.fixture
def make(aws):
    def make(**options: Any) -> SqsDriver:
        given = {"ENDPOINT_URL": aws.url, "PREFIX": aws.prefix, "WAIT": 0, **options}
        return SqsDriver(ConnectionSettings("sqs", "sqs", retry_after=60, options=given))

    return make


@pytest.fixture
def driver(make):
    return make()


def create(server: services.SQS, *, fifo: bool = False) -> str:
    name = f"push-{uuid.uuid4().hex[:12]}" + (".fifo" if fifo else "")
    boto = boto3.client("sqs", endpoint_url=server.url)
    boto.create_queue(QueueName=name, Attributes={"FifoQueue": "true"} if fifo else {})
    return name


@pytest.fixture
def queue(sqs_server):
    return create(sqs_server)


@pytest.fixture
def fifo(sqs_server):
    return create(sqs_server, fifo=True)


def job(queue: str, **values: Any) -> OutgoingJob:
    return OutgoingJob(str(uuid.uuid4()), queue, "shop.Pack", "{}", **values)


def some(queue: str, count: int) -> list[OutgoingJob]:
    return [job(queue) for _ in range(count)]


def ids(jobs: list[OutgoingJob]) -> set[str]:
    return {each.id for each in jobs}


def nth_batch(number: int, fault: Fault | Refusal) -> Act:
    """Let that batch of all that are sent fail, and those after it."""
    seen = [0]

    def act(operation: str, body: dict[str, Any]) -> Fault | Refusal | None:
        seen[0] += operation == "SendMessageBatch"
        return fault if operation == "SendMessageBatch" and seen[0] >= number else None

    return act


def broken(driver: SqsDriver, jobs: list[OutgoingJob]) -> QueueUnavailable:
    with pytest.raises(QueueUnavailable) as error:
        driver.push(jobs)
    return error.value


# -- one push is one job ---------------------------------------------------------------------------


def test_a_push_that_is_stored_twice_runs_once(driver, make, queue):
    """Two workers come upon the two messages, and neither attempts nor history begin anew."""
    other = make()
    one = job(queue)
    for _ in range(2):
        driver.push([one])
    (held,) = driver.session().exchange([], [queue], 1).reservations
    assert other.session().exchange([], [queue], 1).reservations == []
    assert other.session().recover(10) == []
    assert driver.session().settle([Settlement(held)]) == set()
    assert Run.objects.get().attempts == 1
    (put_off,) = other._guard.take([_copy(one)], {})
    assert put_off.state.value == "ended"


def _copy(one: OutgoingJob) -> Any:
    from djqueue.drivers.guard import Delivery

    return Delivery(one.id, "another message", one.push_id)


def test_a_retry_travels_with_the_id_of_its_push(driver, queue):
    one = job(queue)
    driver.push([one])
    (held,) = driver.session().exchange([], [queue], 1).reservations
    driver.session().settle([Settlement(held)])
    driver.push([one._replace(push_id=new_push_id())])
    (again,) = driver.session().exchange([], [queue], 1).reservations
    assert (again.id, again.attempt, again.payload) == (one.id, 1, one.payload)
    assert driver.session().fence(again) > driver.session().fence(held)


def test_a_late_release_is_the_same_push_under_a_deduplication_id_of_its_own(driver, aws, fifo):
    one = job(fifo, deduplication_id="paid-7", message_group="a")
    driver.push([one])
    (held,) = driver.session().exchange([], [fifo], 1).reservations
    driver.session().settle([Settlement(held, Verdict.RELEASE, delay=50_000.0)])
    row = Outbox.objects.get()
    assert (row.push_id, row.message_group) == ("", "a")
    late = one._replace(deduplication_id=row.deduplication_id, push_id=row.push_id)
    driver.push([late])
    (again,) = driver.session().exchange([], [fifo], 1).reservations
    assert (again.id, again.attempt) == (one.id, 2)
    assert aws.dropped == []


def test_a_repeated_push_to_a_fifo_queue_is_dropped_there(driver, aws, fifo):
    one = job(fifo)
    driver.push([one])
    driver.push([one])
    assert aws.dropped == [one.id]
    assert driver.inspector().counts(fifo).waiting == 1


def connect(settings: Any, aws: Aws, queue: str) -> None:
    given = {
        "DRIVER": "sqs",
        "QUEUE": queue,
        "ENDPOINT_URL": aws.url,
        "PREFIX": aws.prefix,
        "REGION": aws.region,
        "RETRY_AFTER": 10,
    }
    settings.DJQUEUE = {"DEFAULT": "sqs", "CONNECTIONS": {"sqs": given}}


def test_a_failed_job_of_a_fifo_queue_can_be_retried_at_once(settings, aws, fifo):
    """SQS still knows the id that the dispatch was sent under."""
    connect(settings, aws, fifo)
    jobs.boom.dispatch()
    with start_worker("--sleep", 0.2) as worker:
        wait_until(FailedJob.objects.exists, what=worker.output, timeout=30)
        before = FailedJob.objects.get().pk
        assert retrying.retry().moved == 1
        again = FailedJob.objects.filter(pk__gt=before)
        wait_until(again.exists, what=worker.output, timeout=30)
    assert aws.dropped == []


def test_an_answer_that_is_lost_makes_no_second_run(settings, aws, queue, ledger):
    connect(settings, aws, queue)
    aws.act = lose_first()
    jobs.record.dispatch(1)
    with start_worker("--sleep", 0.2) as worker:
        wait_until(lambda: ledger.details("end"), what=worker.output, timeout=30)
        jobs.record.dispatch(2)
        wait_until(lambda: "2" in ledger.details("end"), what=worker.output, timeout=30)
    assert sorted(ledger.details("end")) == ["1", "2"]


def lose_first() -> Act:
    sent = [0]

    def act(operation: str, body: dict[str, Any]) -> Fault | None:
        sent[0] += operation == "SendMessageBatch"
        return Fault.LOSE if operation == "SendMessageBatch" and sent[0] == 1 else None

    return act


# -- what is stored --------------------------------------------------------------------------------


def test_a_push_that_breaks_off_says_what_is_stored(driver, aws, queue):
    """Batches of ten: two were answered. The late ones are in SQL."""
    given, late = some(queue, 35), [job(queue, delay=7200.0) for _ in range(3)]
    aws.act = nth_batch(3, Refusal("ServiceUnavailable", 503))
    error = broken(driver, [*given, *late])
    assert error.stored == ids(given[:20]) | ids(late)
    assert not error.ambiguous, "SQS said that it did not do it"
    assert driver.inspector().counts(queue).waiting == 20


def test_a_batch_whose_answer_is_lost_is_in_doubt(driver, aws, queue):
    given = some(queue, 25)
    aws.act = nth_batch(2, Fault.LOSE)
    error = broken(driver, given)
    assert error.stored == ids(given[:10])
    assert error.ambiguous


def test_a_lost_answer_stays_in_doubt_when_the_next_try_finds_nobody(driver, aws, queue):
    answers = iter([Fault.LOSE, Refusal("ServiceUnavailable", 503)])
    aws.act = lambda operation, body: next(answers, Refusal("ServiceUnavailable", 503))
    error = broken(driver, some(queue, 1))
    assert (error.stored, error.ambiguous) == (frozenset(), True)


def test_a_queue_that_is_gone_holds_up_no_other(driver, queue):
    good, bad = some(queue, 3), some("no-such-queue", 2)
    error = broken(driver, [*bad, *good])
    assert error.stored == ids(good)
    assert not error.refused, "somebody may create it"
    assert not error.ambiguous
    assert "Create the queue" in str(error)


def test_a_queue_that_is_gone_holds_up_no_other_where_sqs_is_asked_for_urls(make, queue):
    good, bad = some(queue, 3), some("no-such-queue", 2)
    error = broken(make(PREFIX=""), [*bad, *good])
    assert error.stored == ids(good)


def test_a_job_that_no_batch_can_hold_is_refused_before_anything_is_sent(driver, queue):
    good, large = job(queue), job(queue)._replace(payload="x" * 262_144)
    error = broken(driver, [good, large])
    assert (error.stored, list(error.refused), error.ambiguous) == (frozenset(), [large.id], False)
    assert "MAX_MESSAGE_SIZE" in error.refused[large.id]


def test_one_bad_entry_does_not_speak_for_its_batch(driver, fifo):
    """The library refuses the request before it is sent, for what one job has."""
    good = [job(fifo, message_group=str(n)) for n in range(3)]
    bad = job(fifo, message_group=7)
    error = broken(driver, [good[0], bad, *good[1:]])
    assert error.stored == ids(good)
    assert list(error.refused) == [bad.id]
    assert not error.ambiguous
