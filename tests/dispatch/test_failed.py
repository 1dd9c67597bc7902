"""The store of failed jobs: what is kept, how it is found, and how jobs go back."""

from __future__ import annotations

import json
import threading
import time
import uuid
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.utils import timezone

from djqueue import queues
from djqueue.drivers.base import Reservation, State
from djqueue.errors import JobNotFound, QueueUnavailable, Unsupported
from djqueue.finish import failed
from djqueue.finish.failed import GivenUp
from djqueue.models import FailedJob, QueuedJob
from djqueue.operations import failed_jobs, retrying
from djqueue.operations.failed_jobs import Selection
from djqueue.operations.verbs.edited_rows import EditedRows
from djqueue.payload import history, payload
from djqueue.runner.outcome import report
from tests.dispatch.jobs import Grouped, Optioned, Write
from tests.dispatch.memory import MemoryDriver

pytestmark = pytest.mark.django_db(databases=["default", "queue"])


def error_report(text="it failed"):
    try:
        raise ValueError(text)
    except ValueError as error:
        return report(error)


def text_of(id, name="test.bus.Write", retry_until=None, **arguments):
    head = payload.encode_head(name, payload.Limits())
    more = payload.encode_more(retry_until=retry_until)
    return payload.encode(head, id, 1790000000.25, arguments, more)


def fail(
    id=None, *, connection="database", queue="default", name="test.bus.Write", fence=0, **given
):
    """Record a failed job as a worker would; its id."""
    id = id or str(uuid.uuid4())
    text = given.pop("payload", None) or text_of(id, name, **given)
    reservation = Reservation(id, queue, name, text, 3, 0, "", None)
    past = history.add(history.read(""), history.Entry(3, "raised", "ValueError", "it failed"))
    failed.record(connection, [GivenUp(reservation, error_report(), past, fence)])
    return id


def row_of(id):
    return FailedJob.objects.get(uuid=id)


# -- recording -----------------------------------------------------------------------------------


def test_a_row_has_all_that_is_known():
    id = fail(text="x")
    row = row_of(id)
    assert (row.connection, row.queue, row.name) == ("database", "default", "test.bus.Write")
    assert (row.attempts, row.exception_class) == (3, "ValueError")
    assert row.exception_message == "it failed"
    assert row.exception.startswith("Traceback (most recent call last)")
    assert row.fingerprint == error_report().fingerprint("test.bus.Write")
    assert history.read(row.history).errors == 1
    assert payload.decode(row.payload).arguments == {"text": "x"}
    assert timezone.now() - row.failed_at < timedelta(seconds=5)


def test_a_job_recorded_twice_has_one_row_with_the_newer_error():
    id = fail(queue="old")
    first = row_of(id)
    fail(id, queue="new")
    assert row_of(id).queue == "new"
    assert row_of(id).pk == first.pk


def test_a_row_gives_way_to_a_later_reservation_and_never_to_an_earlier_one():
    id = fail(fence=5, queue="fifth")
    fail(id, fence=4, queue="fourth")
    assert (row_of(id).queue, row_of(id).reservation) == ("fifth", 5)
    fail(id, fence=5, queue="again")
    assert (row_of(id).queue, row_of(id).reservation) == ("again", 5)
    fail(id, fence=6, queue="sixth")
    assert (row_of(id).queue, row_of(id).reservation) == ("sixth", 6)


def test_many_are_recorded_at_once_each_over_an_earlier_one_of_its_own():
    earlier, later = fail(fence=3, queue="old"), fail(fence=9, queue="old")
    jobs = [
        GivenUp(
            Reservation(id, "new", "test.bus.Write", "{}", 1, 0, "", None), error_report(), "", 7
        )
        for id in (earlier, later, *(str(uuid.uuid4()) for _ in range(70)))
    ]
    failed.record("database", [*jobs, jobs[0]._replace(fence=2)])
    assert (row_of(earlier).queue, row_of(earlier).reservation) == ("new", 7)
    assert (row_of(later).queue, row_of(later).reservation) == ("old", 9)
    assert FailedJob.objects.count() == 72


def test_a_reservation_takes_back_its_own_row_alone():
    own, others = fail(fence=5), fail(fence=6)
    assert failed.recorded({own: 5, others: 5, str(uuid.uuid4()): 5}) == {own}
    assert failed.take_back({own: 5, others: 5}) == 1
    assert [str(row.uuid) for row in FailedJob.objects.all()] == [others]


def test_a_row_can_be_made_of_characters_that_every_database_has():
    id = str(uuid.uuid4())
    text = json.dumps({"text": "caf\u00e9 \U0001f600"}, ensure_ascii=False)
    error = error_report("\u00e9" * 990)._replace(class_name="\u00c4rger")
    held = Reservation(id, "\u00e4" * 80, "\u00fc" * 255, text, 1, 0, "", None)
    failed.record("database", [GivenUp(held, error, "", 1, plain=True)])
    row = row_of(id)
    kept = (row.queue, row.name, row.payload, row.exception, row.exception_class)
    assert all(part.isascii() for part in (*kept, row.exception_message))
    assert json.loads(row.payload) == {"text": "caf\u00e9 \U0001f600"}


def test_recording_is_a_part_of_the_open_transaction():
    with transaction.atomic():
        id = fail()
        transaction.set_rollback(True)
    assert not FailedJob.objects.filter(uuid=id).exists()


def test_a_payload_that_is_no_text_is_recorded_readably():
    id = fail("not-a-uuid", payload="\x00\udcff{")
    row = FailedJob.objects.get()
    assert row.payload == "\\x00\\udcff{"
    assert row.uuid == uuid.uuid5(uuid.NAMESPACE_OID, id)


def test_without_a_store_nothing_is_kept_and_asking_says_why(change):
    change(FAILED_JOBS=None)
    fail()
    with pytest.raises(Unsupported, match=r'DJQUEUE\["FAILED_JOBS"\] is None'):
        failed_jobs.count()
    change(FAILED_JOBS={"DATABASE": "default"})
    assert failed_jobs.count() == 0


# -- finding -------------------------------------------------------------------------------------

ID = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0001"
OTHER = "0190aaaa-bbbb-7ccc-8ddd-eeee00000002"


@pytest.mark.parametrize(
    "text",
    [
        ID,
        ID.upper(),
        ID.replace("-", ""),
        "ffff0001",
        "ff0001",
        "8ddd-eeeeffff0001",
        "8dddeeeeffff0001",
        "dddeeeeffff0001",
        " 0190aaaabbbb7ccc8dddeeeef ",
        "0190aaaa-bbbb-7ccc-8ddd-eeeef",
    ],
)
def test_an_id_or_enough_of_its_beginning_or_end_finds_the_job(text):
    fail(ID)
    fail("0290aaaa-bbbb-7ccc-8ddd-eeee00000002")
    assert str(failed_jobs.find(text).uuid) == ID


def test_a_part_of_several_ids_names_the_candidates():
    fail(ID)
    fail(OTHER)
    with pytest.raises(JobNotFound, match=f"{OTHER}, {ID}") as caught:
        failed_jobs.find("0190aaaa")
    assert "several begin or end like it" in str(caught.value)


@pytest.mark.parametrize("text", ["ffffffff", "aaaaaa", "bbbb-7ccc", str(uuid.UUID(int=5))])
def test_what_no_id_begins_or_ends_with_is_not_found(text):
    fail(ID)
    with pytest.raises(JobNotFound, match="No failed job has the id"):
        failed_jobs.find(text)


@pytest.mark.parametrize("text", ["777777", "7", "00001", "1"])
def test_a_row_number_is_told_to_be_one(text):
    fail(ID)
    with pytest.raises(JobNotFound, match="Row numbers are for queue_retry --range alone"):
        failed_jobs.find(text)


@pytest.mark.parametrize("text", ["f0001", "0190a", "1"])
def test_what_is_short_stands_for_no_job(text):
    fail(ID)
    with pytest.raises(JobNotFound, match="too short for a part of an id: give at least 6"):
        failed_jobs.find(text)


def test_a_number_that_is_another_jobs_row_stands_for_neither():
    fail("0190aaaa-bbbb-7ccc-8ddd-eeee00100200")
    fail(OTHER)
    assert str(failed_jobs.find("100200").uuid).endswith("100200")
    FailedJob.objects.filter(uuid=OTHER).update(id=100200)
    with pytest.raises(JobNotFound, match="row number of another failed job"):
        failed_jobs.find("100200")


@pytest.mark.parametrize("text", ["", "all", "xyz", "%", "_", ID + "0"])
def test_what_is_no_id_is_said_to_be_none(text):
    with pytest.raises(JobNotFound, match="is not a job id"):
        failed_jobs.find(text)


def test_ids_are_resolved_one_by_one():
    fail(ID)
    found = failed_jobs.resolve([ID, "ffff0001", "cccc"])
    assert found.selection == Selection(ids=(ID,))
    assert len(found.unknown) == 1


def test_filters_narrow_each_other():
    old = fail(queue="a")
    FailedJob.objects.filter(uuid=old).update(failed_at=timezone.now() - timedelta(hours=2))
    new = fail(queue="a")
    other = fail(queue="b", name="test.bus.Optioned")

    def found(**wanted):
        return [str(row.uuid) for row in failed_jobs.listed(Selection(**wanted))]

    assert found() == [other, new, old]
    assert found(queue="a") == [new, old]
    assert found(queue="a", since=timezone.now() - timedelta(hours=1)) == [new]
    assert found(name="test.bus.Optioned") == [other]
    assert found(rows=(row_of(old).pk, row_of(new).pk)) == [new, old]
    assert found(ids=()) == []
    assert [str(row.uuid) for row in failed_jobs.listed(limit=2)] == [other, new]


def test_lists_go_through_every_slice(monkeypatch):
    monkeypatch.setattr(failed_jobs, "SLICE", 2)
    ids = [fail() for _ in range(5)]
    assert [str(row.uuid) for row in failed_jobs.listed()] == ids[::-1]
    assert [str(row.uuid) for row in failed_jobs.listed(limit=3)] == ids[:1:-1]


# -- forgetting ----------------------------------------------------------------------------------


def test_forgetting_counts_what_it_deleted(monkeypatch):
    monkeypatch.setattr(failed_jobs, "SLICE", 2)
    for queue in ("a", "a", "b", "a", "a", "a"):
        fail(queue=queue)
    steps = []
    assert failed_jobs.forget(Selection(queue="a"), steps.append) == 5
    assert steps == [2, 4, 5]
    assert [row.queue for row in failed_jobs.listed()] == ["b"]


def test_what_fails_meanwhile_is_not_swept_in(monkeypatch):
    monkeypatch.setattr(failed_jobs, "SLICE", 1)
    fail()
    fail()
    assert failed_jobs.forget(on_progress=lambda done: fail(queue="late")) == 2
    assert [row.queue for row in failed_jobs.listed()] == ["late", "late"]


def test_old_ones_are_those_that_failed_before():
    old = fail()
    FailedJob.objects.filter(uuid=old).update(failed_at=timezone.now() - timedelta(hours=2))
    fail()
    assert failed_jobs.forget(failed_jobs.failed_before(3600)) == 1
    assert not FailedJob.objects.filter(uuid=old).exists()


# -- retrying ------------------------------------------------------------------------------------


def test_a_retry_moves_the_job_to_its_queue_under_its_id():
    id = fail(queue="mail", text="x")
    text = row_of(id).payload
    assert retrying.retry(Selection(ids=(id,))) == (1, 0, {})
    assert not FailedJob.objects.exists()
    (job,) = queues["database"].peek("mail")
    assert (job.id, job.name) == (id, "test.bus.Write")
    assert payload.decode(job.payload) == payload.decode(text)
    assert (job.attempts, job.state) == (0, State.WAITING)
    assert QueuedJob.objects.get().history == ""


def test_a_retry_until_is_dropped_and_nothing_else():
    id = fail(retry_until=1790000600.5, text="x", other=[1, "é"])
    before = payload.decode(row_of(id).payload)
    retrying.retry()
    text = QueuedJob.objects.get().payload
    after = payload.decode(text)
    assert before.retry_until is not None
    assert after.retry_until is None
    assert (after.id, after.head, after.sent, after.arguments) == (
        before.id,
        before.head,
        before.sent,
        before.arguments,
    )
    assert payload.known_head(text).head == before.head


def test_a_retry_until_of_the_class_is_counted_anew():
    fail(name="test.bus.Optioned", retry_until=1790000600.5, number=1)
    retrying.retry()
    after = payload.decode(QueuedJob.objects.get().payload)
    assert after.retry_until == pytest.approx(time.time() + 600, abs=10)
    assert after.arguments == {"number": 1}


def test_a_retry_has_the_limits_of_todays_code():
    id = str(uuid.uuid4())
    old = payload.encode_head("test.bus.Optioned", payload.Limits(tries=1, timeout=1))
    fail(id, name="test.bus.Optioned", payload=payload.encode(old, id, 1.0, {"number": 1}))
    retrying.retry()
    head = payload.decode(QueuedJob.objects.get().payload).head
    assert (head.limits.tries, head.limits.timeout) == (3, None)


def test_a_retry_keeps_what_using_had_set():
    Optioned(1).using(connection="database", tries=7, timeout=None, backoff=[1, 2]).dispatch()
    text = QueuedJob.objects.get().payload
    QueuedJob.objects.all().delete()
    stored = text.replace('"backoff":[1,2]', '"backoff":[1,2],"max_exceptions":2')
    assert stored != text
    fail(payload.decode(text).id, name="test.bus.Optioned", payload=stored)
    retrying.retry()
    again = QueuedJob.objects.get().payload
    limits = payload.decode(again).head.limits
    assert (limits.tries, limits.backoff, limits.max_exceptions) == (7, (1, 2), None)
    assert payload.known_head(again).head == payload.known_head(text).head, (
        "and a second retry keeps them too"
    )


def test_an_argument_called_retry_until_stays():
    fail(payload=text_of(str(uuid.uuid4()), retry_until=None, text='"retry_until":1'))
    retrying.retry()
    assert json.loads(QueuedJob.objects.get().payload)["arguments"] == {"text": '"retry_until":1'}


def test_a_damaged_payload_goes_back_as_it_is():
    fail(payload='{"retry_until": ')
    assert retrying.retry().moved == 1
    assert QueuedJob.objects.get().payload == '{"retry_until": '


def test_priority_and_message_group_come_from_the_class(memory):
    fail(name=Optioned._spec.name, connection="memory", queue="kept", number=7)
    retrying.retry()
    (job,) = memory
    assert (job.priority, job.message_group, job.deduplication_id) == (5, "group-7", None)


def test_a_message_group_that_raises_keeps_its_own_row_back_and_no_other(memory):
    broken = fail(name=Grouped._spec.name, connection="memory", queue="kept", who="nobody")
    asks = fail(name=Grouped._spec.name, connection="memory", queue="kept", who="SQL@b")
    good = [
        fail(name=Grouped._spec.name, connection="memory", queue="kept", who="a@b"),
        fail(connection="memory", queue="kept"),
    ]
    with transaction.atomic():
        done = retrying.retry()
    assert (done.moved, done.gone, sum(done.refused.values())) == (2, 0, 2)
    assert [job.id for job in memory] == good
    assert "message_group of test.bus.Grouped raised IndexError" in next(iter(done.refused))
    assert {str(row.uuid) for row in failed_jobs.listed()} == {broken, asks}


def test_a_job_goes_back_to_the_connection_it_failed_on(memory):
    here, apart, away = fail(), fail(connection="apart"), fail(connection="memory", queue="kept")
    assert retrying.retry().moved == 3
    assert QueuedJob.objects.using("default").get().uuid == uuid.UUID(here)
    assert QueuedJob.objects.using("queue").get().uuid == uuid.UUID(apart)
    assert [job.id for job in memory] == [away]


def test_a_retry_in_a_transaction_is_undone_with_it():
    fail()
    with transaction.atomic():
        assert retrying.retry().moved == 1
        transaction.set_rollback(True)
    assert failed_jobs.count() == 1
    assert not QueuedJob.objects.exists()


def test_where_a_store_cannot_be_reached_nothing_is_lost():
    fail()
    for _ in range(2):
        fail(connection="down", queue="down")
    with pytest.raises(QueueUnavailable, match="1 job was retried before"):
        retrying.retry()
    assert failed_jobs.count() == 2
    assert QueuedJob.objects.count() == 1


@pytest.mark.parametrize(
    ("connection", "reason"),
    [("null", "keeps no jobs"), ("sync", "keeps no jobs"), ("gone", "Unknown queue connection")],
)
def test_jobs_that_cannot_go_back_stay_with_a_reason(connection, reason):
    fail(connection=connection)
    fail()
    done = retrying.retry()
    assert (done.moved, done.gone) == (1, 0)
    ((text, number),) = done.refused.items()
    assert reason in text
    assert number == 1
    assert failed_jobs.count() == 1


def test_a_row_that_somebody_else_took_is_not_pushed(monkeypatch):
    ids = [fail() for _ in range(3)]
    rows = list(FailedJob.objects.order_by("id"))
    ready = retrying._ready(rows, {}, retrying.How(), 0, EditedRows())
    FailedJob.objects.filter(uuid=ids[1]).delete()
    assert retrying._move(queues["database"].driver, ready, retrying.How()).moved == 2
    pushed = {str(job.uuid) for job in QueuedJob.objects.all()}
    assert pushed == {ids[0], ids[2]}


def test_a_retried_job_that_fails_at_once_is_not_retried_again(monkeypatch):
    monkeypatch.setattr(failed_jobs, "SLICE", 1)
    fail(connection="memory", queue="kept")
    fail(connection="memory", queue="kept")

    def fail_again(done):
        for job in MemoryDriver.stores["memory"]:
            if not FailedJob.objects.filter(uuid=job.id).exists():
                fail(job.id, connection="memory", queue="kept")

    assert retrying.retry(on_progress=fail_again).moved == 2
    assert failed_jobs.count() == 2


@pytest.mark.django_db(transaction=True)
def test_of_two_operators_one_retries_each_job():
    for _ in range(60):
        fail(connection="memory", queue="kept")
    results, errors = [], []
    together = threading.Barrier(2)

    def operator():
        try:
            together.wait()
            results.append(retrying.retry())
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=operator) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sum(result.moved for result in results) == 60
    pushed = [job.id for job in MemoryDriver.stores["memory"]]
    assert len(pushed) == len(set(pushed)) == 60


def test_a_retried_job_runs():
    id = Write("again").using(connection="database").dispatch().id
    QueuedJob.objects.all().delete()
    fail(id, text="again")
    retrying.retry()
    session = queues["database"].driver.session()
    (reservation,) = session.exchange([], ["default"], 1).reservations
    assert (reservation.id, reservation.attempt, reservation.history) == (id, 1, "")
