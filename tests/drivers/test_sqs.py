"""The SQS driver, on moto's server."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from django.core.checks import run_checks
from django.db.models.functions import Now

from djqueue import dispatch_many
from djqueue.checks import TAG
from djqueue.checks.connections import check_values
from djqueue.conf import ConnectionSettings
from djqueue.databases.now import UtcNow
from djqueue.dispatch.outbox import outbox
from djqueue.drivers.base import FOREIGN, Driver, OutgoingJob, Reservation, Settlement, Verdict
from djqueue.drivers.sqs import SqsDriver
from djqueue.drivers.sqs.client import Client, full_name
from djqueue.drivers.sqs.session import SqsSession
from djqueue.errors import ConfigurationError, QueueError, QueueUnavailable
from djqueue.models import Outbox, Run
from djqueue.testing import DriverContract
from tests import services
from tests.app import jobs
from tests.services import Proxy
from tests.support import start_worker, wait_until

pytestmark = [pytest.mark.sqs, pytest.mark.django_db(transaction=True)]


class LookingSession(SqsSession):
    """Finds what others left behind when it is asked for it: a worker's next exchange does."""

    looks_at = "default"

    def recover(self, limit: int, *, late: float = 0.0) -> list[Reservation]:
        self.exchange([], [self.looks_at], limit)
        return super().recover(limit)


class Looking(SqsDriver):
    def __init__(self, settings: ConnectionSettings, queue: str) -> None:
        super().__init__(settings)
        lease = int(settings.retry_after)
        self._session = LookingSession(self._client, self._guard, lease, 0, self._park)
        self._session.looks_at = queue


def connection(server: services.SQS, **options: Any) -> ConnectionSettings:
    retry_after = options.pop("RETRY_AFTER", 3)
    values = {"ENDPOINT_URL": server.url, "PREFIX": server.prefix, "WAIT": 0, **options}
    return ConnectionSettings("sqs", "sqs", retry_after=retry_after, options=values)


def create(server: services.SQS, name: str, **attributes: str) -> str:
    boto = boto3.client("sqs", endpoint_url=server.url)
    if name.endswith(".fifo"):
        attributes["FifoQueue"] = "true"
    return str(boto.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])


class TestContract(DriverContract):
    lease = 3.0
    crowd = 120
    long = frozenset(
        {
            "test_a_full_window_is_settled_at_once",
            "test_hostile_payloads_come_back_byte_for_byte",
            "test_hostile_payloads_survive_a_push_in_bulk",
            "test_many_jobs_are_pushed_at_once",
        }
    )
    """Tests for which moto may need longer than a lease, and which are about something else."""

    @pytest.fixture(autouse=True)
    def _server(self, sqs_server, request):
        self.server = sqs_server
        if request.node.name in self.long:
            self.lease = self.patience = 60.0

    def make_driver(self) -> Driver:
        return Looking(connection(self.server, RETRY_AFTER=int(self.lease)), self.queue)

    def kill_lease(self) -> None:
        """Let SQS hand out again what workers hold, and the leases in the guard rows run out."""
        Run.objects.update(updated_at=UtcNow() - timedelta(seconds=self.lease + 1))
        for driver in self.__dict__.get("_drivers", []):
            held = [holding.message for holding in driver._session._holdings]
            driver._session._hide(held, 0)

    def make_queue(self) -> str:
        name = f"contract-{uuid.uuid4().hex[:12]}"
        create(self.server, name)
        return name

    def test_many_jobs_are_pushed_at_once(self):
        """Fewer than elsewhere: moto takes half a second for each ten of a thousand."""
        jobs = [self.job() for _ in range(123)]
        self.pusher.push(jobs)
        assert {r.id for r in self.reserve(123)} == {job.id for job in jobs}
        assert self.nothing_is_left()

    @pytest.mark.skip("moto takes half a second for each ten of a thousand messages")
    def test_a_crowd_that_is_due_at_once_is_promoted_in_slices(self): ...

    @pytest.mark.skip("SQS has no way to reach a message that it delays")
    def test_clearing_spares_what_runs(self): ...

    @pytest.mark.skip("SQS has no way to reach a message that it delays")
    def test_clearing_takes_a_long_queue(self): ...


# -- what only SQS does --------------------------------------------------------------------------


@pytest.fixture
def queue(sqs_server):
    name = f"only-{uuid.uuid4().hex[:12]}"
    create(sqs_server, name)
    return name


@pytest.fixture
def fifo(sqs_server):
    name = f"only-{uuid.uuid4().hex[:12]}.fifo"
    create(sqs_server, name)
    return name


@pytest.fixture
def make(sqs_server):
    return lambda **options: SqsDriver(connection(sqs_server, **options))


@pytest.fixture
def calls(monkeypatch):
    """The requests that drivers make."""
    made: list[tuple[str, dict[str, Any]]] = []
    call = Client._call

    def counted(self: Client, operation: str, **arguments: Any) -> Any:
        made.append((operation, arguments))
        return call(self, operation, **arguments)

    monkeypatch.setattr(Client, "_call", counted)
    return made


def job(queue: str, number: int = 0, **values: Any) -> OutgoingJob:
    return OutgoingJob(str(uuid.uuid4()), queue, "shop.Pack", f'{{"number":{number}}}', **values)


def reserve(driver: Driver, queue: str, limit: int = 1) -> list[Reservation]:
    found: list[Reservation] = []
    wait_until(lambda: found.extend(driver.session().exchange([], [queue], limit)[1]) or found, 8)
    return found


def test_everything_goes_in_batches_of_ten(make, queue, calls):
    driver = make(RETRY_AFTER=60)
    driver.push([job(queue, n) for n in range(100)])
    done = 0
    while held := driver.session().exchange([], [queue], 10).reservations:
        driver.session().settle([Settlement(r) for r in held])
        done += len(held)
    made = [operation for operation, _ in calls]
    assert done == 100
    assert made.count("send_message_batch") == 10
    assert made.count("delete_message_batch") == 10
    assert made.count("receive_message") <= 12


def test_batches_hold_no_more_than_one_message_may(make, queue, calls):
    make().push([job(queue)._replace(payload="x" * 100_000) for _ in range(5)])
    sent = [given["Entries"] for operation, given in calls if operation == "send_message_batch"]
    assert [len(entries) for entries in sent] == [2, 2, 1]


def test_what_a_batch_refuses_is_sent_again_and_then_told(make, queue, monkeypatch):
    attempts: list[list[str]] = []
    call = Client._call
    driver = make()
    stubborn, wrong, hesitant = jobs_ = [job(queue, n) for n in range(3)]

    def refusing(self: Client, operation: str, **given: Any) -> Any:
        if operation != "send_message_batch":
            return call(self, operation, **given)
        entries = given["Entries"]
        told = [e["MessageAttributes"]["djqueue"]["StringValue"].split()[1] for e in entries]
        attempts.append(told)
        failed = [
            {
                "Id": e["Id"],
                "Code": "InternalError",
                "Message": "busy",
                "SenderFault": x == wrong.id,
            }
            for e, x in zip(entries, told, strict=True)
            if x in (stubborn.id, wrong.id) or (x == hesitant.id and len(attempts) == 1)
        ]
        left = [e for e in entries if e["Id"] not in {f["Id"] for f in failed}]
        if left:
            call(self, operation, **{**given, "Entries": left})
        return {"Failed": failed}

    monkeypatch.setattr(Client, "_call", refusing)
    with pytest.raises(QueueUnavailable, match="has taken 1 of 3 jobs") as error:
        driver.push(jobs_)
    assert stubborn.id in str(error.value)
    assert wrong.id in str(error.value)
    assert error.value.stored == {hesitant.id}
    assert list(error.value.refused) == [wrong.id]
    assert not error.value.ambiguous, "the others are not queued"
    assert attempts == [
        [stubborn.id, wrong.id, hesitant.id],
        [stubborn.id, hesitant.id],
        [stubborn.id],
    ]
    assert [r.id for r in reserve(driver, queue, 3)] == [hesitant.id]


def test_long_delays_wait_in_the_database(make, queue):
    driver = make(RETRY_AFTER=60)
    soon, late = job(queue, delay=900.0), job(queue, delay=7200.0)
    driver.push([soon, late])
    row = Outbox.objects.get()
    assert (str(row.uuid), row.queue, row.payload) == (late.id, queue, late.payload)
    assert driver.inspector().counts(queue)[:3] == (0, 2, 0)
    assert outbox.replay(driver=driver) == 0
    assert Outbox.objects.filter(due_at__gt=Now() + timedelta(seconds=7000)).count() == 1
    Outbox.objects.update(due_at=Now() - timedelta(seconds=1))
    assert outbox.replay(driver=driver) == 1
    (held,) = reserve(driver, queue)
    assert (held.id, held.attempt, Outbox.objects.count()) == (late.id, 1, 0)


def test_a_retry_that_sqs_has_no_room_for_waits_in_the_database(make, queue):
    driver = make(RETRY_AFTER=60)
    driver.push([job(queue, message_group="g")])
    (held,) = reserve(driver, queue)
    late = Settlement(held, Verdict.RELEASE, delay=50_000.0, history="first")
    assert driver.session().settle([late]) == set()
    assert driver.inspector().counts(queue)[:3] == (0, 1, 0)
    Outbox.objects.update(due_at=Now() - timedelta(seconds=1))
    assert outbox.replay(driver=driver) == 1
    (again,) = reserve(driver, queue)
    assert (again.id, again.attempt, again.history) == (held.id, 2, "first")


def test_clearing_takes_what_waits_and_what_is_parked(make, queue):
    driver = make(RETRY_AFTER=60)
    driver.push([job(queue), job(queue), job(queue, delay=5000.0)])
    (held,) = reserve(driver, queue)
    assert driver.inspector().clear(queue) == 2
    assert driver.session().settle([Settlement(held)]) == set()
    assert driver.inspector().counts(queue)[:3] == (0, 0, 0)


# -- FIFO ----------------------------------------------------------------------------------------


def test_a_group_runs_in_order_one_at_a_time(make, fifo):
    driver = make(RETRY_AFTER=60)
    a = [job(fifo, n, message_group="a") for n in range(3)]
    b = [job(fifo, n, message_group="b") for n in range(2)]
    driver.push([a[0], b[0], a[1], b[1], a[2]])
    seen: list[str] = []
    while len(seen) < 5:
        held = reserve(driver, fifo, 10)
        assert len(held) <= 2
        seen += [r.id for r in held]
        driver.session().settle([Settlement(r) for r in held])
    assert [id for id in seen if id in {each.id for each in a}] == [each.id for each in a]
    assert [id for id in seen if id in {each.id for each in b}] == [each.id for each in b]


def test_a_retry_keeps_its_group_waiting(make, fifo):
    driver = make(RETRY_AFTER=60)
    one = [job(fifo, n) for n in range(3)]
    ids = [each.id for each in one]
    driver.push(one)
    (held,) = reserve(driver, fifo, 10)
    driver.session().settle([Settlement(held, Verdict.RELEASE, delay=1)])
    assert driver.session().exchange([], [fifo], 10).reservations == []
    (again,) = reserve(driver, fifo, 10)
    assert (again.id, again.attempt) == (ids[0], 2)
    driver.session().settle([Settlement(again)])
    assert reserve(driver, fifo, 10)[0].id == ids[1]


def test_groups_and_deduplication_are_the_jobs_or_sane(make, fifo, calls):
    driver = make()
    plain = job(fifo)
    own = job(fifo, message_group="order-7", deduplication_id="paid-7")
    driver.push([plain, own, job(fifo, message_group="order-7", deduplication_id="paid-7")])
    sent = [e for operation, given in calls if "send" in operation for e in given["Entries"]]
    assert (sent[0]["MessageGroupId"], sent[0]["MessageDeduplicationId"]) == (fifo, plain.id)
    assert (sent[1]["MessageGroupId"], sent[1]["MessageDeduplicationId"]) == ("order-7", "paid-7")
    assert driver.inspector().counts(fifo).waiting == 2


def test_any_delay_in_a_fifo_queue_is_parked(make, fifo):
    driver = make()
    late = job(fifo, delay=1.0, message_group="g", deduplication_id="d")
    driver.push([late])
    row = Outbox.objects.get()
    assert (row.message_group, row.deduplication_id) == ("g", "d")


# -- what SQS delivers twice ---------------------------------------------------------------------


def give_again(driver: SqsDriver, queue: str) -> None:
    """Let SQS hand out again what the driver holds, as it may at any time."""
    url = driver._client.url(queue)
    held = driver._session._holdings
    driver._client.hide(url, [(holding.message.receipt, 0) for holding in held])


def test_a_message_whose_holder_is_alive_is_left_alone(make, queue):
    driver, other = make(RETRY_AFTER=30), make(RETRY_AFTER=30)
    driver.push([job(queue)])
    (held,) = reserve(driver, queue)
    give_again(driver, queue)
    assert other.session().exchange([], [queue], 10).reservations == []
    assert other.session().recover(10) == []
    assert driver.session().settle([Settlement(held)]) == set()
    assert Run.objects.get().ended


def test_a_message_that_comes_again_after_its_end_is_deleted(make, queue):
    driver, other = make(RETRY_AFTER=30), make(RETRY_AFTER=30)
    driver.push([job(queue)])
    (held,) = reserve(driver, queue)
    give_again(driver, queue)
    driver._guard.end([driver._session._holdings[held.handle[0]].claim])  # the delete did nothing
    assert other.session().exchange([], [queue], 10).reservations == []
    assert other.inspector().counts(queue)[:3] == (0, 0, 0)


def test_our_own_message_that_comes_again_is_held_once(make, queue):
    driver = make(RETRY_AFTER=30)
    driver.push([job(queue)])
    (held,) = reserve(driver, queue)
    give_again(driver, queue)
    assert driver.session().exchange([], [queue], 10).reservations == []
    assert driver.session().recover(10) == []
    assert driver.session().extend([held]) == set()
    assert driver.session().settle([Settlement(held)]) == set()
    assert driver.inspector().counts(queue)[:3] == (0, 0, 0)


def test_a_message_of_another_program_is_a_job_whose_name_says_so(make, queue, sqs_server):
    boto = boto3.client("sqs", endpoint_url=sqs_server.url)
    boto.send_message(QueueUrl=make()._client.url(queue), MessageBody="hello")
    (held,) = reserve(make(), queue)
    assert (held.name, held.payload) == (FOREIGN, "hello")
    assert uuid.UUID(held.id)


# -- names, limits, settings ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("queue", "suffix", "name"),
    [
        ("mail", "", "mail"),
        ("mail", "-staging", "mail-staging"),
        ("mail-staging", "-staging", "mail-staging"),
        ("orders.fifo", "-staging", "orders-staging.fifo"),
        ("orders-staging.fifo", "-staging", "orders-staging.fifo"),
        ("eu.mail", "", "eu-mail"),
        ("eu.orders.fifo", "", "eu-orders.fifo"),
    ],
)
def test_a_queue_has_its_suffix_once_and_before_fifo(queue, suffix, name):
    assert full_name(queue, suffix) == name


def test_urls_come_from_the_prefix_from_the_settings_or_from_sqs(make, queue, sqs_server):
    assert make(PREFIX="https://a.b/1/")._client.url("mail") == "https://a.b/1/mail"
    urls = {"mail": "https://c.d/2/post.fifo"}
    assert make(URLS=urls)._client.url("mail") == "https://c.d/2/post.fifo"
    assert make(PREFIX="")._client.url(queue) == f"{sqs_server.prefix}/{queue}"


def test_a_queue_that_does_not_exist_is_told_in_words(make):
    with pytest.raises(ConfigurationError, match="Create the queue"):
        make().push([job("no-such-queue")])
    assert "Create the queue" in make(PREFIX="").inspector().warnings()[0]


def test_a_server_that_is_not_there(make):
    with pytest.raises(QueueUnavailable, match="did not answer") as error:
        make(ENDPOINT_URL="http://127.0.0.1:1").push([job("default")])
    assert not error.value.ambiguous


def test_a_message_above_the_limit_is_refused_in_words(make, queue):
    with pytest.raises(QueueError, match=r"at most 262,144.*Nothing was queued"):
        make().push([job(queue), job(queue)._replace(payload="x" * 262_144)])
    assert make().inspector().counts(queue).waiting == 0


def test_redrive_and_retention_are_looked_at(make, sqs_server):
    dead = create(sqs_server, "dead")
    arn = f"arn:aws:sqs:{sqs_server.region}:{sqs_server.account}:dead"
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    create(sqs_server, "watched", RedrivePolicy=policy, MessageRetentionPeriod="86400")
    driver = SqsDriver(replace(connection(sqs_server), queue="watched"))
    redrive, retention = driver.inspector().warnings()
    assert dead.endswith("/dead")
    assert f"to {arn} when it has been received 3 times" in redrive
    assert "for 1 days" in retention
    create(sqs_server, "well", MessageRetentionPeriod="1209600")
    well = SqsDriver(replace(connection(sqs_server), queue="well"))
    assert well.inspector().warnings() == []


def test_checks_of_the_settings(sqs_server):
    def said(**options: Any) -> list[str]:
        made = connection(sqs_server, **{"RETRY_AFTER": 90, **options})
        return [message.id for message in check_values(made, SqsDriver)]

    assert said() == []
    assert said(RETRY_AFTER=42_000) == ["djqueue.E021"]
    assert said(RETRY_AFTER=0.5) == ["djqueue.E021"]
    assert said(RETRY_AFTER=15) == ["djqueue.W021"]
    assert said(RETRY_AFTER=16) == []
    assert said(PREFIX="sqs.amazonaws.com/1", URLS={"a": "b"}) == ["djqueue.E022"] * 2
    assert said(WAIT=20, REGION=1, MAX_MESSAGE_SIZE=2 << 20) == ["djqueue.E003"] * 3


def test_guard_rows_cannot_be_switched_off(settings, sqs_server):
    given = {"DRIVER": "sqs", "REGION": sqs_server.region, "GUARD": False}
    settings.DJQUEUE = {"DEFAULT": "sqs", "CONNECTIONS": {"sqs": given}}
    (message,) = [m for m in run_checks(tags=[TAG]) if m.id == "djqueue.E002"]
    assert "guard rows are always kept" in message.hint


# -- workers -------------------------------------------------------------------------------------


def test_a_worker_runs_what_is_there_and_what_comes_due(settings, sqs_server, queue, ledger):
    given = {
        "DRIVER": "sqs",
        "QUEUE": queue,
        "ENDPOINT_URL": sqs_server.url,
        "PREFIX": sqs_server.prefix,
        "REGION": sqs_server.region,
        "RETRY_AFTER": 10,
    }
    settings.DJQUEUE = {"DEFAULT": "sqs", "CONNECTIONS": {"sqs": given}}
    for number in range(5):
        jobs.record.dispatch(number)
    jobs.record.using(delay=timedelta(hours=1)).dispatch(5)
    jobs.boom_thrice.dispatch()
    Outbox.objects.update(due_at=Now() + timedelta(seconds=2))
    with start_worker("--sleep", 0.2) as worker:
        wait_until(lambda: len(ledger.details("end")) == 6, what=worker.output, timeout=30)
    assert sorted(ledger.details("end")) == list("012345")
    assert not Outbox.objects.exists()


def test_jobs_cost_three_requests_for_each_ten(settings, sqs_server, queue, ledger):
    """Sending in tens; receiving and deleting too, but for the first and the last ones."""
    many = int(os.environ.get("DJQUEUE_TEST_SQS_JOBS", "200"))
    made: Counter[str] = Counter()
    called = re.compile(rb"X-Amz-Target: AmazonSQS\.(\w+)")
    with Proxy(
        sqs_server.port,
        read=lambda sent: made.update(word.decode() for word in called.findall(sent)),
    ) as proxy:
        given = {
            "DRIVER": "sqs",
            "QUEUE": queue,
            "ENDPOINT_URL": f"http://{proxy.host}:{proxy.port}",
            "URLS": {queue: f"http://{proxy.host}:{proxy.port}/{sqs_server.account}/{queue}"},
            "REGION": sqs_server.region,
            "RETRY_AFTER": 60,
        }
        settings.DJQUEUE = {"DEFAULT": "sqs", "CONNECTIONS": {"sqs": given}}
        assert dispatch_many(jobs.record.bind(number) for number in range(many)) == many
        with start_worker("--stop-when-empty") as worker:
            assert worker.wait(120) == 0
    print(f"{many} jobs: {dict(made)}")
    assert len(ledger.lines("end")) == many
    assert made["SendMessageBatch"] == many / 10
    # A worker begins with small windows, until it knows how long the jobs take. That is about 102
    # and 105 for a thousand; on a busy machine they take longer, and windows stay smaller.
    assert made["DeleteMessageBatch"] <= many / 10 + 20
    assert made["ReceiveMessage"] <= many / 10 + 20
