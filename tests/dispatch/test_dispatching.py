"""Dispatching: where a job goes, what is stored, and who sees the errors."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest

from djqueue import Job, dispatch, dispatch_many, dispatch_sync
from djqueue.dispatch.dispatch import prepare
from djqueue.errors import (
    MissingPackage,
    NotSerializable,
    QueueError,
    QueueUnavailable,
    UnknownConnection,
    Unsupported,
)
from djqueue.payload.ids import Moment
from djqueue.payload.payload import decode
from djqueue.signals import job_queued
from tests.app.models import Note
from tests.dispatch.jobs import AfterCommit, Fail, NoteText, Optioned, Write, add, ran

pytestmark = pytest.mark.usefixtures("own_jobs")


def test_dispatch_stores_a_payload_under_a_new_id(memory):
    before = time.time()
    dispatched = Write("x").dispatch()
    (job,) = memory
    payload = decode(job.payload)
    assert dispatched.id == job.id == payload.id == str(UUID(job.id))
    assert dispatched.created is True
    assert dispatched.existing is None
    assert (job.name, job.queue, job.delay, job.priority) == ("test.bus.Write", "kept", 0, 0)
    assert dict(payload.arguments) == {"text": "x"}
    assert before - 0.001 <= payload.sent <= time.time()


def test_options_of_the_class_arrive(memory):
    Optioned(7).dispatch()
    (job,) = memory
    payload = decode(job.payload)
    assert (job.queue, job.priority) == ("of-class", 5)
    assert (job.message_group, job.deduplication_id) == ("group-7", "once")
    assert payload.head.limits.tries == 3
    assert payload.tags == ("class",)
    assert payload.retry_until == pytest.approx(time.time() + 600, abs=5)


def test_using_beats_the_class(memory):
    job = Optioned(7).using(queue="mine", priority=-5, tries=9, timeout=4, backoff=[1], tags=["x"])
    job.using(delay=60).dispatch()
    (stored,) = memory
    payload = decode(stored.payload)
    assert (stored.queue, stored.priority, stored.delay) == ("mine", -5, 60)
    limits = payload.head.limits
    assert (limits.tries, limits.timeout, limits.backoff) == (9, 4, (1,))
    assert payload.tags == ("x",)


def test_routes_beat_the_connection_and_the_class_beats_routes(memory, change):
    class Open(Job, name="test.bus.Open"):
        def handle(self):
            pass

    Open().dispatch()
    assert [job.queue for job in memory] == ["routed"]
    Optioned(1).dispatch()
    assert memory[-1].queue == "of-class"
    Open().using(connection="eager", queue="x").dispatch()
    assert len(memory) == 2


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        (90, 90),
        (timedelta(minutes=2), 120),
        (lambda: datetime.now(timezone.utc) + timedelta(minutes=30), 1800),
        (datetime(2020, 1, 1, tzinfo=timezone.utc), 0),
    ],
)
def test_a_delay_is_counted_from_the_dispatch(memory, delay, seconds):
    Write().using(delay=delay() if callable(delay) else delay).dispatch()
    assert memory[0].delay == pytest.approx(seconds, abs=60)


def test_a_changed_setting_is_followed(memory, change):
    Write().dispatch()
    change(ROUTES={"test.bus.Write": {"connection": "memory", "queue": "other"}})
    Write().dispatch()
    assert [job.queue for job in memory] == ["kept", "other"]


def test_equal_options_share_a_plan():
    first = prepare(Write().using(queue="a", delay=1), Write._spec)
    second = prepare(Write().using(queue="a", delay=2), Write._spec)
    third = prepare(Write().using(queue="b"), Write._spec)
    assert first.plan is second.plan
    assert third.plan.queue == "b"


def test_errors_of_the_dispatch_reach_the_caller(memory):
    with pytest.raises(UnknownConnection, match="memori"):
        Write().using(connection="memori").dispatch()
    with pytest.raises(QueueUnavailable):
        Write().using(queue="down").dispatch()
    with pytest.raises(NotSerializable, match='argument "text"'):
        Write(object()).dispatch()
    with pytest.raises(Unsupported, match="delays a job by at most 3600 s"):
        Write().using(delay=3601).dispatch()
    with pytest.raises(QueueError, match="is not a queue name"):
        Write().using(queue="{tag}").dispatch()
    assert memory == []


def test_a_missing_package_is_told_at_the_dispatch(change):
    change(CONNECTIONS={"database": {"DRIVER": "tests.dispatch.nowhere.Driver"}}, ROUTES={})
    with pytest.raises(QueueError, match="cannot be imported"):
        Write().dispatch()
    assert issubclass(MissingPackage, QueueError)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (Write, r"Write\(…\).dispatch\(\)"),
        (add, r"add.bind\(…\)"),
        ("text", "is not a job"),
        (None, "is not a job"),
    ],
)
def test_what_is_no_job_is_a_type_error_with_the_spelling(wrong, hint):
    for send in (dispatch, dispatch_sync):
        with pytest.raises(TypeError, match=hint):
            send(wrong)


def test_an_unsaved_model_is_refused(db, memory):
    with pytest.raises(NotSerializable, match='argument "note"'):
        NoteText(Note(text="x")).dispatch()


def test_the_function_is_the_same_as_the_method(memory):
    dispatch(Write("a"))
    dispatch(add.using(connection="memory").bind(1))
    assert [job.name for job in memory] == ["test.bus.Write", "test.bus.add"]


def test_ids_are_uuids_that_sort_by_time():
    ids = [Moment(ns).ids(1)[0] for ns in range(10**18, 10**18 + 10**9, 10**6)]
    assert ids == sorted(ids)
    together = Moment(10**18 - 1).ids(1000)
    assert together == sorted(set(together))
    assert len({Moment(10**18).ids(1)[0] for _ in range(1000)}) == 1000
    for each in ids[:100]:
        assert UUID(each).version == 7
        assert UUID(each).variant == "specified in RFC 4122"
        assert int(each.replace("-", "")[:12], 16) == 10**12 + ids.index(each)
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", ids[0])


# -- here and now -----------------------------------------------------------------------------


def test_dispatch_sync_returns_what_handle_returns(memory):
    assert dispatch_sync(Write("x")) == "X"
    assert Write("x").dispatch_sync() == "X"
    assert add.dispatch_sync(2, b=3) == 5
    assert memory == []


def test_dispatch_sync_takes_the_arguments_through_the_payload(db):
    note = Note.objects.create(text="old")
    Note.objects.update(text="new")
    assert NoteText(note).dispatch_sync() == "new"


def test_sync_connections_run_the_job_at_once(transactional_db):
    dispatched = add.using(connection="sync").dispatch(1)
    assert ran == ["sync"]
    assert (dispatched.created, dispatched.status) == (True, "unknown")


def test_errors_on_sync_reach_the_caller_after_failed():
    with pytest.raises(ValueError, match="it failed") as caught:
        Fail().using(connection="sync").dispatch()
    assert ran == [caught.value]
    with pytest.raises(ValueError, match="it failed"):
        Fail().dispatch_sync()


def test_outside_a_transaction_after_commit_changes_nothing(transactional_db):
    AfterCommit().dispatch()
    assert ran == ["committed"]


# -- signals ----------------------------------------------------------------------------------


@pytest.fixture
def queued():
    received = []

    def receive(sender, job, delay, **kwargs):
        received.append((sender, job, delay))

    job_queued.connect(receive)
    yield received
    job_queued.disconnect(receive)


def test_job_queued_tells_of_each_job_that_was_stored(memory, queued):
    job = Write("x").using(delay=5)
    dispatched = job.dispatch()
    ((sender, told, delay),) = queued
    assert (sender, delay) == (Write, 5)
    assert (told.id, told.name) == (dispatched.id, "test.bus.Write")
    assert (told.queue, told.connection, told.attempt) == ("kept", "memory", 0)
    assert told.instance is job


def test_job_queued_tells_of_each_of_many(memory, queued):
    jobs = [Write("x"), Write("y")]
    dispatch_many(jobs)
    assert [(sender, told.id) for sender, told, _ in queued] == [
        (Write, stored.id) for stored in memory
    ]
    assert [told.instance for _, told, _ in queued] == jobs


def test_job_queued_is_not_sent_for_what_was_not_stored(queued):
    with pytest.raises(QueueUnavailable):
        Write().using(queue="down").dispatch()
    assert queued == []


def test_a_failing_receiver_changes_nothing(memory, caplog):
    def fail(**kwargs):
        raise RuntimeError("receiver")

    job_queued.connect(fail)
    try:
        Write().dispatch()
    finally:
        job_queued.disconnect(fail)
    assert len(memory) == 1
    assert "receiver" in caplog.text
