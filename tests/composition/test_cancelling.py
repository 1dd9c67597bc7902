"""The members of a cancelled batch that wait are removed, whatever they wait for."""

import threading

import pytest
from django.db import connection as database
from django.db import transaction

from djqueue import batch, chain, queues
from djqueue.composition import removing
from djqueue.composition.batches import upkeep
from djqueue.dispatch.connections import driver_of
from djqueue.dispatch.outbox import rows as outbox_rows
from djqueue.drivers.base import Change, OutgoingJob, Settlement, State, Verdict
from djqueue.drivers.database import members
from djqueue.models import FailedJob, JobBatch, JobResult, Outbox, QueuedJob, Run
from djqueue.operations.retrying import retry
from djqueue.testing import work
from tests.composition import jobs
from tests.databases import vendor

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ran():
    jobs.ran.clear()
    return jobs.ran


def of(row):
    row.refresh_from_db()
    return (row.total_jobs, row.pending_jobs, row.failed_jobs, row.finished)


def due(row):
    JobBatch.objects.filter(pk=row.pk).update(upkeep_at=row.created_at)


def test_the_call_removes_what_waits_or_is_delayed(ran):
    members = [jobs.number.bind(1), jobs.number.using(delay=3600).bind(2)]
    row = batch(members, on_finish=jobs.notes.bind("on_finish")).dispatch()
    assert row.cancel()
    assert of(row) == (2, 0, 0, True)
    assert QueuedJob.objects.get().name == "composition.notes"
    work()
    assert ran == [("on_finish", row.pk, 100)]


def test_other_batches_keep_their_members():
    first, second = (batch([jobs.number.bind(1)] * 3).dispatch() for _ in range(2))
    queues["database"].driver.push(
        [OutgoingJob(f"{at}" * 8 + "-0000-0000-0000-000000000000", "q", "a", "{}") for at in (1, 2)]
    )
    first.cancel()
    assert of(first) == (3, 0, 0, True)
    assert of(second) == (3, 3, 0, False)
    assert QueuedJob.objects.count() == 5


def test_what_is_too_much_for_the_call_is_left_to_a_worker(ran, monkeypatch):
    monkeypatch.setattr(upkeep, "SLICE", 2)
    monkeypatch.setattr(upkeep, "BUDGET", 0.0)
    row = batch(jobs.number.bind(i) for i in range(7)).dispatch()
    row.cancel()
    assert of(row) == (7, 5, 0, False)
    assert upkeep.is_due()
    monkeypatch.setattr(upkeep, "BUDGET", 10.0)
    upkeep.look_after()
    assert of(row) == (7, 0, 0, True)
    assert not upkeep.is_due()
    assert row.upkeep_at is None


def test_what_becomes_due_meanwhile_is_looked_after_again(monkeypatch):
    row = batch([jobs.number.bind(1), jobs.number.bind(2)]).dispatch()
    due(row)
    monkeypatch.setattr(upkeep, "announce_one", lambda alias, id: upkeep.counting.cancel(alias, id))
    upkeep.look_after()
    assert of(row) == (2, 0, 0, True)
    assert row.upkeep_at is None


def test_the_first_failure_removes_the_rest(ran):
    row = batch([jobs.breaks.bind(), *(jobs.number.using(delay=60).bind(i) for i in range(3))])
    row = row.dispatch()
    work()
    assert of(row) == (4, 0, 1, True)
    assert ran == ["breaks"]


def test_a_worker_removes_what_was_put_back_since(ran, monkeypatch):
    monkeypatch.setattr(upkeep, "SLICE", 1)
    row = batch([jobs.number.bind(1), jobs.number.bind(2)]).dispatch()
    (held,) = queues["database"].driver.session().exchange((), ["default"], 1).reservations
    row.cancel()
    assert of(row) == (2, 1, 0, False)
    assert not upkeep.is_due()  # not yet
    QueuedJob.objects.filter(uuid=held.id).update(reserved_by=None, reserved_until=None, line=0)
    due(row)
    upkeep.look_after()
    assert of(row) == (2, 0, 0, True)
    assert ran == []


def test_chains_results_and_kept_members_go_with_it(ran):
    kept = jobs.adds.bind(1, 2)
    row = batch([chain([jobs.number.bind(1), jobs.number.bind(2)]), kept]).dispatch()
    row.cancel()
    assert of(row) == (2, 0, 0, True)
    assert not Outbox.objects.exists()
    assert JobResult.objects.get().status == "cancelled"


def test_a_retried_member_stays(ran):
    row = batch([jobs.once_broken.bind(), jobs.number.bind(2)]).dispatch()
    work()
    assert of(row) == (2, 0, 1, True)
    retry()
    due(row)
    upkeep.look_after()
    assert QueuedJob.objects.get().batch_id is None
    work()
    assert "mended" in ran
    assert of(row) == (2, 0, 0, True)
    assert not FailedJob.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_delayed_members_in_another_store_are_removed(ran, redis_connection):
    members = [jobs.number.using(delay=3600).bind(1), jobs.number.bind(2)]
    row = batch(members).using(connection=redis_connection).dispatch()
    assert Run.objects.get().batch_id == row.pk
    row.cancel()
    assert of(row) == (2, 1, 0, False)
    work(redis_connection)
    assert of(row) == (2, 0, 0, True)
    assert ran == []
    assert queues[redis_connection].size() == 0


@pytest.mark.django_db(transaction=True)
def test_a_member_that_has_left_its_store_uncounted_is_counted_once(ran, redis_connection):
    later, last = (jobs.number.using(delay=seconds) for seconds in (3600, 7200))
    members = [later.bind(1), chain([later.bind(2), later.bind(3)]), last.bind(4)]
    row = batch(members).using(connection=redis_connection).dispatch()
    inspector = queues[redis_connection].inspector
    *gone, kept = [job.id for job in inspector.peek("default", State.DELAYED)]
    assert inspector.remove("default", gone) == 2  # by a process that died after that
    inspector.change(Change.RUN_NOW, "default", {kept: ""})
    session = queues[redis_connection].driver.session()
    (held,) = session.exchange((), ["default"], 1).reservations
    row.cancel()
    due(row)
    upkeep.look_after()
    assert of(row) == (3, 1, 0, False), "one is held"
    assert not Outbox.objects.exists()
    session.exchange([Settlement(held, Verdict.RELEASE)], (), 0)
    work(redis_connection)
    assert of(row) == (3, 0, 0, True)
    assert ran == []


@pytest.mark.django_db(transaction=True)
def test_a_member_whose_row_is_held_is_on_its_way(redis_connection, monkeypatch):
    monkeypatch.setattr("djqueue.composition.batches.growing._move", lambda *_: None)
    later = jobs.number.using(delay=3600, connection=redis_connection)
    row = batch([later.bind(1)]).dispatch()
    Outbox.objects.update(taken_until="2100-01-01T00:00Z")
    row.cancel()
    assert of(row) == (1, 1, 0, False)


@pytest.mark.django_db(transaction=True)
def test_a_member_in_the_outbox_and_in_its_store_is_counted_once(
    ran, redis_connection, monkeypatch
):
    with monkeypatch.context() as dying:
        dying.setattr(outbox_rows, "gone", lambda *_: None)
        row = batch([jobs.number.bind(1)]).using(connection=redis_connection).dispatch()
    kept = row.add([jobs.number.using(connection="database").bind(2)])
    Outbox.objects.update(taken_until=None)
    QueuedJob.objects.update(reserved_by=1)
    row.cancel()
    assert (kept, of(row)) == (1, (2, 1, 0, False))
    work(redis_connection)
    assert of(row) == (2, 1, 0, False)
    assert queues[redis_connection].is_empty()


@pytest.mark.django_db(transaction=True)
def test_members_on_their_way_are_removed(ran, redis_connection, monkeypatch):
    monkeypatch.setattr("djqueue.composition.batches.growing._move", lambda *_: None)
    row = batch([jobs.number.bind(1)] * 3).using(connection=redis_connection).dispatch()
    assert Outbox.objects.filter(batch_id=row.pk).count() == 3
    Outbox.objects.update(taken_until=None)  # their dispatcher has been gone for some time
    row.cancel()
    assert of(row) == (3, 0, 0, True)
    assert not Outbox.objects.exists()


def test_a_slice_finds_its_rows_by_an_index(django_assert_max_num_queries):
    row = batch(jobs.number.bind(i) for i in range(1_200)).dispatch()
    with django_assert_max_num_queries(60):
        row.cancel()
    assert of(row) == (1_200, 0, 0, True)
    assert database.vendor


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(vendor() == "sqlite", reason="SQLite has one lock for all that is written")
def test_a_slice_holds_up_no_end_of_another_batch(ran):
    cancelled, other = (batch([jobs.number.bind(i) for i in range(3)]).dispatch() for _ in range(2))
    held, finished = threading.Event(), threading.Event()
    in_time = []

    def remove():
        with transaction.atomic():
            found = members.remove_waiting("default", cancelled.pk, 0, 500)
            removing.write_removal("default", found.payloads, driver_of, cancelled.pk)
            held.set()
            in_time.append(finished.wait(20))
        database.close()

    thread = threading.Thread(target=remove)
    thread.start()
    assert held.wait(20)
    assert work(max_jobs=3) == 3
    finished.set()
    thread.join()
    assert in_time == [True]
    assert of(other) == (3, 0, 0, True)
    assert of(cancelled) == (3, 0, 0, True)
