"""A store that takes a part of a push: nothing of it is pushed again, and the rest is not lost."""

from __future__ import annotations

import logging
import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction

from djqueue import Job, current_job, dispatch_many, queues
from djqueue.databases.now import UtcNow
from djqueue.dispatch.outbox import outbox
from djqueue.dispatch.outbox import rows as outbox_rows
from djqueue.drivers.base import OutgoingJob, Reservation
from djqueue.drivers.failover.breaker import breakers
from djqueue.errors import InvalidJob, QueueError, QueueUnavailable
from djqueue.finish import failed
from djqueue.finish.failed import GivenUp
from djqueue.models import FailedJob, Outbox, QueuedJob
from djqueue.operations import failed_jobs, retrying
from djqueue.payload import payload
from djqueue.runner.outcome import ErrorReport
from djqueue.signals import job_queued
from tests.app import jobs
from tests.half import HalfDriver

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "queue"]),
    pytest.mark.usefixtures("own_jobs"),
]


class Numbered(Job, name="test.half.Numbered", message_group=lambda job: job.number):
    """A job whose group is computed wrongly."""

    number: int

    def handle(self) -> None:
        pass


HALF = {"DRIVER": "tests.half.HalfDriver"}


@pytest.fixture(autouse=True)
def _connections(settings):
    settings.DJQUEUE = {
        "DEFAULT": "half",
        "CONNECTIONS": {
            "half": {**HALF, "OUTBOX": True},
            "plain": HALF,
            "other": {**HALF, "DATABASE": "queue"},
            "over": {"DRIVER": "failover", "CONNECTIONS": ["plain", "other"], "PROBE_AFTER": 0},
            "last": {
                "DRIVER": "failover",
                "CONNECTIONS": ["plain", "sync"],
                "PROBE_AFTER": 0,
                "OUTBOX": True,
            },
            "sync": {"DRIVER": "sync"},
        },
    }
    HalfDriver.heal()
    yield
    HalfDriver.heal()


@pytest.fixture
def announced():
    seen = []

    def receive(sender, job, **rest):
        seen.append(job.id)

    job_queued.connect(receive)
    yield seen
    job_queued.disconnect(receive)


def make_due():
    """As if time had passed, and whoever held a row were dead."""
    Outbox.objects.update(due_at=UtcNow() - timedelta(seconds=60), taken_until=None)


def stored():
    return [str(id) for id in QueuedJob.objects.order_by("id").values_list("uuid", flat=True)]


def waiting():
    return {str(id) for id in Outbox.objects.values_list("uuid", flat=True)}


# -- the outbox ------------------------------------------------------------------------------------


def test_what_is_stored_leaves_the_outbox_and_the_rest_waits(caplog, announced):
    HalfDriver.takes = 3
    with transaction.atomic():
        dispatch_many(jobs.record.bind(number) for number in range(10))
    assert len(stored()) == 3
    assert announced == stored()
    assert len(waiting()) == 7
    assert not waiting() & set(stored())
    (told,) = [record for record in caplog.records if record.exc_info]
    assert "6 others of 10 jobs could not be queued" in str(told.exc_info[1])
    assert "A worker will push them from the outbox." in str(told.exc_info[1])
    HalfDriver.heal()
    make_due()
    assert outbox.replay() == 7
    assert len(set(stored())) == len(stored()) == 10
    assert not waiting()


def test_a_worker_too_pushes_the_rest_alone_again():
    HalfDriver.takes = 0
    with transaction.atomic():
        dispatch_many(jobs.record.bind(number) for number in range(10))
    make_due()
    HalfDriver.takes = 4
    assert outbox.replay() == 4
    HalfDriver.heal()
    make_due()
    assert outbox.replay() == 6
    assert [len(push) for push in HalfDriver.pushes] == [6]
    assert len(stored()) == 10


@pytest.mark.parametrize("wrong", ["too large", ValueError("no such thing")])
def test_what_a_store_never_takes_ends_as_a_failed_job_and_holds_up_no_other(wrong, caplog):
    HalfDriver.poison["bad"] = wrong
    with transaction.atomic():
        good = [jobs.record.dispatch(1).id]
        bad = jobs.record.using(queue="bad").dispatch(2).id
        good.append(jobs.record.dispatch(3).id)
    assert not waiting()
    assert sorted(stored()) == sorted(good)
    row = FailedJob.objects.get()
    assert (str(row.uuid), row.connection, row.queue) == (bad, "half", "bad")
    assert str(wrong) in row.exception_message
    assert f"app.record {bad} never reached connection" in caplog.text
    assert payload.decode(row.payload).arguments == {"number": 2, "seconds": 0.0}


def test_where_no_failed_jobs_are_kept_the_log_has_what_a_store_never_takes(settings, caplog):
    settings.DJQUEUE = {**settings.DJQUEUE, "FAILED_JOBS": None}
    HalfDriver.poison["bad"] = "too large"
    with transaction.atomic():
        bad = jobs.boom.using(queue="bad").dispatch("for order 42, password=hunter2").id
    assert not waiting()
    assert not FailedJob.objects.exists()
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    told = f'FAILED app.boom {bad} never reached connection "half", queue bad: '
    assert told in record.getMessage()
    assert "too large" in record.getMessage()
    assert "for order 42" in record.getMessage()
    assert "hunter2" not in record.getMessage()


def test_one_poisoned_row_among_due_ones_is_not_in_their_way():
    poisoned = [OutgoingJob(str(uuid.uuid4()), "bad", "app.record", "{}")]
    good = [OutgoingJob(str(uuid.uuid4()), "default", "app.record", "{}") for _ in range(5)]
    outbox_rows.write("default", "half", "somebody", poisoned + good, parked=False)
    make_due()
    HalfDriver.poison["bad"] = QueueError("the name of this queue cannot be used")
    assert outbox.replay() == 5
    assert not waiting()
    assert "cannot be used" in FailedJob.objects.get().exception_message


def test_a_dispatcher_leaves_alone_what_a_worker_has_moved_meanwhile():
    def replay_before_ours():
        make_due()
        assert outbox.replay() == 1

    with transaction.atomic():
        transaction.on_commit(replay_before_ours)
        dispatched = jobs.record.dispatch(1)
    assert [len(push) for push in HalfDriver.pushes] == [1]
    assert dispatched.created
    assert not waiting()


def test_a_worker_leaves_alone_what_its_dispatcher_is_pushing(monkeypatch):
    seen = []
    push = HalfDriver.push

    def look_meanwhile(self, jobs):
        Outbox.objects.update(due_at=UtcNow() - timedelta(seconds=60))
        seen.append((outbox.replay() if not seen else None, connection.in_atomic_block))
        push(self, jobs)

    monkeypatch.setattr(HalfDriver, "push", look_meanwhile)
    with transaction.atomic():
        jobs.record.dispatch(1)
    assert seen == [(0, False)]
    assert len(stored()) == 1


def test_two_workers_never_push_the_same_row():
    ids = [str(uuid.uuid4()) for _ in range(300)]
    rows = [OutgoingJob(id, "default", "app.record", "{}") for id in ids]
    outbox_rows.write("default", "half", "somebody", rows, parked=True)
    make_due()
    moved = []

    def work():
        try:
            moved.extend(outbox.replay(20) for _ in range(20))
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    while outbox.replay():
        pass
    pushed = [job.id for push in HalfDriver.pushes for job in push]
    assert sorted(pushed) == sorted(ids)


def test_rows_that_are_held_wait_for_their_holder_or_its_end():
    job = OutgoingJob(str(uuid.uuid4()), "default", "app.record", "{}")
    outbox_rows.write("default", "half", "somebody", [job], parked=True)
    (taken,) = outbox_rows.take_due("default", "first", "half", 10)
    assert taken.job.id == job.id
    assert outbox_rows.take_due("default", "second", "half", 10) == []
    Outbox.objects.update(taken_until=UtcNow() - timedelta(seconds=1))
    assert len(outbox_rows.take_due("default", "second", "half", 10)) == 1
    outbox_rows.gone("default", "first", [job.id])
    assert waiting() == {job.id}
    outbox_rows.gone("default", "second", [job.id])
    assert not waiting()


def test_a_call_of_a_push_from_the_outbox_ends_before_its_hold():
    with transaction.atomic():
        jobs.record.dispatch(1)
    assert HalfDriver.patiences == [outbox.PATIENCE]
    assert outbox.PATIENCE < outbox.HOLD
    assert queues["half"].driver.patience is None


def test_what_waits_for_a_connection_that_is_gone_fails_after_a_week():
    job = OutgoingJob(str(uuid.uuid4()), "default", "app.record", "{}")
    for connection_name in ("gone", "half"):
        held = job._replace(id=str(uuid.uuid4()))
        outbox_rows.write("default", connection_name, "somebody", [held], parked=True)
    assert outbox.give_up_forgotten() == 0
    Outbox.objects.update(due_at=UtcNow() - timedelta(days=8))
    assert outbox.give_up_forgotten() == 1
    row = FailedJob.objects.get()
    assert (row.connection, row.exception_class) == ("gone", "djqueue.errors.UnknownConnection")
    assert len(waiting()) == 1


# -- without an outbox -----------------------------------------------------------------------------


def test_many_jobs_say_which_of_them_are_queued(announced):
    HalfDriver.takes = 1_003
    with pytest.raises(QueueUnavailable) as raised:
        dispatch_many(jobs.record.using(connection="plain").bind(n) for n in range(3_000))
    assert "Numbers 1,004 to 2,000 of what dispatch_many() was given are not queued" in str(
        raised.value
    )
    assert "and nothing after number 2,000 is; the others are." in str(raised.value)
    assert len(stored()) == 1_003
    assert announced == stored()
    assert raised.value.stored == set(stored()[1_000:])


def test_one_job_that_is_stored_all_the_same_is_dispatched(monkeypatch):
    def push(self, jobs):
        raise QueueUnavailable("The answer was lost.", stored=[job.id for job in jobs])

    monkeypatch.setattr(HalfDriver, "push", push)
    assert jobs.record.using(connection="plain").dispatch(1).created
    assert dispatch_many([jobs.record.using(connection="plain").bind(1)]) == 1


def test_a_group_that_is_no_text_is_refused_before_any_store_is_asked():
    with pytest.raises(InvalidJob, match="message_group of Numbered is 7, not a text"):
        Numbered(7).using(connection="plain").dispatch()
    assert not HalfDriver.pushes


# -- failing over ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ambiguous", [False, True])
def test_another_member_gets_only_what_the_first_has_not_stored(settings, caplog, ambiguous):
    HalfDriver.takes, HalfDriver.ambiguous = 35, ambiguous
    other = queues["other"].driver
    caplog.set_level(logging.WARNING, logger="djqueue")
    push = HalfDriver.push

    class Whole(HalfDriver):
        takes = None

        def push(self, jobs):
            push(self, jobs)

    Whole.heal()
    member = queues["over"].driver._members[1]
    member.__class__ = Whole
    assert dispatch_many(jobs.record.using(connection="over").bind(n) for n in range(105)) == 105
    here, there = QueuedJob.objects.count(), QueuedJob.objects.using("queue").count()
    QueuedJob.objects.using("queue").all().delete()
    other.close()
    assert (here, there) == (35, 70)
    (record,) = [each for each in caplog.records if "failed over" in each.message]
    told = {word.strip(",:") for word in record.message.split() if word.count("-") == 4}
    assert len(told) == 70, "every id"
    assert not told & set(stored())


def test_the_last_resort_runs_what_is_not_stored_and_no_row_is_left(announced):
    ran = []

    class Run(Job, name="test.half.Run", connection="last"):
        number: int

        def handle(self) -> None:
            ran.append((self.number, Outbox.objects.filter(uuid=current_job().id).exists()))
            if self.number == 3:
                raise ValueError("no")

    HalfDriver.takes = 2
    with transaction.atomic():
        dispatch_many(Run(number) for number in range(5))
    assert ran == [(2, True), (3, True), (4, True)], "each has its row until it has run"
    assert not waiting()
    assert len(stored()) == 2
    assert sorted(announced) == sorted(set(announced))
    assert len(announced) == 5
    HalfDriver.takes = 3
    breakers.of("plain").worked()  # it is asked again
    dispatch_many(Run(number) for number in range(10, 14))
    assert [number for number, _ in ran] == [2, 3, 4, 13]
    assert len(stored()) == 5


def test_members_have_the_patience_of_their_connection():
    driver = queues["over"].driver
    driver.patience = 0.5
    assert [store.patience for store in driver._members] == [0.5, 0.5]
    driver.patience = None
    assert [store.patience for store in driver._members] == [None, None]


def test_all_members_that_refuse_a_job_say_why():
    HalfDriver.poison["bad"] = "too large"
    with pytest.raises(QueueUnavailable) as raised:
        jobs.record.using(connection="over", queue="bad").dispatch(1)
    (reason,) = raised.value.refused.values()
    assert reason == "plain: too large other: too large"
    assert jobs.record.using(connection="over").dispatch(1).created, "the first is asked again"
    assert len(stored()) == 1


# -- retrying --------------------------------------------------------------------------------------


def fail(count, connection_name="half", queue="default"):
    head = payload.encode_head("app.record", payload.Limits())
    made = []
    for number in range(count):
        id = str(uuid.uuid4())
        text = payload.encode(head, id, 1790000000.5, {"number": number, "seconds": 0.0})
        held = Reservation(id, queue, "app.record", text, 1, 0, "", None)
        made.append(GivenUp(held, ErrorReport("ValueError", "no", ""), "", 1))
    failed.record(connection_name, made)
    return [each.reservation.id for each in made]


def failed_ids():
    return {str(id) for id in FailedJob.objects.values_list("uuid", flat=True)}


def test_a_retry_keeps_the_rows_of_what_is_not_stored_alone():
    fail(100)
    HalfDriver.takes = 30
    with pytest.raises(QueueUnavailable, match="30 jobs were retried before; the others are as"):
        retrying.retry()
    assert len(stored()) == 30
    assert len(failed_ids()) == 70
    assert not failed_ids() & set(stored())
    HalfDriver.heal()
    assert retrying.retry().moved == 70
    assert len(set(stored())) == len(stored()) == 100
    assert not failed_ids()


def test_a_retry_stops_at_the_first_slice_that_its_store_did_not_take(monkeypatch):
    monkeypatch.setattr(failed_jobs, "SLICE", 40)
    fail(120)
    HalfDriver.takes = 0
    with pytest.raises(retrying.RetryStopped, match="0 jobs were retried before") as raised:
        retrying.retry()
    assert raised.value.so_far.moved == 0
    assert [len(push) for push in HalfDriver.pushes] == [40]
    assert len(failed_ids()) == 120


def test_a_job_that_is_refused_stays_failed_with_the_reason_and_holds_up_no_other():
    good, (bad,) = fail(3), fail(1, queue="bad")
    HalfDriver.poison["bad"] = ValueError("no such queue")
    done = retrying.retry()
    assert (done.moved, done.gone) == (3, 0)
    assert done.refused == {"no such queue": 1}
    assert set(stored()) == set(good)
    assert failed_ids() == {bad}


def test_a_retry_pushes_outside_transactions_and_nobody_forgets_what_is_on_its_way(monkeypatch):
    fail(1)
    push = HalfDriver.push
    seen = []

    def look_meanwhile(self, jobs):
        seen.append((connection.in_atomic_block, failed_jobs.forget(), retrying.retry()))
        push(self, jobs)

    monkeypatch.setattr(HalfDriver, "push", look_meanwhile)
    assert retrying.retry().moved == 1
    assert seen == [(False, 0, retrying.Retried(0, 1, {}))]
    assert not failed_ids()
    assert len(stored()) == 1


def test_a_retry_that_died_is_repeated_as_the_same_push_and_a_later_one_is_another(monkeypatch):
    (id,) = fail(1)

    def die(self, jobs):
        HalfDriver.pushes.append(list(jobs))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HalfDriver, "push", die)
        with pytest.raises(KeyboardInterrupt):
            retrying.retry()
    assert failed_ids() == {id}
    assert retrying.retry().moved == 1
    QueuedJob.objects.all().delete()
    held = Reservation(id, "default", "app.record", "{}", 1, 0, "", None)
    failed.record("half", [GivenUp(held, ErrorReport("ValueError", "no", ""), "", 2)])
    assert retrying.retry().moved == 1
    first, again, later = (push[0].push_name for push in HalfDriver.pushes)
    assert first == again != later
    assert id not in (first, later)


def test_a_job_that_fails_again_while_it_is_retried_keeps_its_new_row(monkeypatch):
    (id,) = fail(1)
    push = HalfDriver.push

    def fail_meanwhile(self, jobs):
        push(self, jobs)
        held = Reservation(id, "default", "app.record", "{}", 1, 0, "", None)
        failed.record("half", [GivenUp(held, ErrorReport("KeyError", "new", ""), "", 2)])

    monkeypatch.setattr(HalfDriver, "push", fail_meanwhile)
    retrying.retry()
    assert FailedJob.objects.get().exception_class == "KeyError"
