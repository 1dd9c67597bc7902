"""Batches as steps of chains, chains as members of batches, and so on."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from djqueue import batch, chain, find, queues
from djqueue.composition.batches import growing, turns, upkeep
from djqueue.errors import InvalidJob
from djqueue.models import FailedJob, JobBatch, JobResult, Outbox, QueuedJob
from djqueue.operations import batches
from djqueue.operations.retrying import retry
from djqueue.testing import fake_queue, work
from tests.composition import jobs

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ran():
    jobs.ran.clear()
    return jobs.ran


def number(value):
    return jobs.number.bind(value)


def some(*values, **wishes):
    return batch([number(value) for value in values], **wishes)


def values():
    return [each[0] if isinstance(each, tuple) else each for each in jobs.ran]


def inner():
    return JobBatch.objects.get(chain__isnull=False)


def nothing_is_left():
    return not (Outbox.objects.exists() or QueuedJob.objects.exists())


def test_the_next_step_runs_when_the_batch_has_finished(ran):
    chain([number(1), some(2, 3, 4), number(5)]).dispatch()
    assert inner().turn == "waits"
    assert batches.state(inner()) == "waiting"
    assert work(max_jobs=1) == 1
    assert batches.state(inner()) == "running"
    assert work(max_jobs=2) == 2
    assert values() == [1, 2, 3]
    work()
    assert values() == [1, 2, 3, 4, 5]
    assert ran[-1] == (5, None)
    assert nothing_is_left()


def test_a_chain_may_begin_or_end_with_a_batch(ran):
    first = chain([some(1, 2), some(), some(3)]).dispatch()
    assert first.created
    work()
    assert values() == [1, 2, 3]
    assert all(row.finished for row in JobBatch.objects.all())
    assert nothing_is_left()


def test_its_callbacks_run_as_ever(ran):
    chain([some(1, name="In", on_finish=jobs.notes.bind("on_finish")), number(2)]).dispatch()
    work()
    assert sorted(map(str, values())) == ["1", "2", "on_finish"]


def test_a_batch_counts_a_chain_with_a_batch_once(ran):
    member = chain([number(1), some(2, 3), number(4)])
    row = batch([member, number(9)], on_finish=jobs.notes.bind("on_finish")).dispatch()
    assert row.total_jobs == 2
    assert (inner().depth, inner().outer) == (1, row.pk)
    work(max_jobs=4)
    row.refresh_from_db()
    assert row.pending_jobs == 1
    work()
    row.refresh_from_db()
    assert (row.total_jobs, row.pending_jobs, row.finished) == (2, 0, True)
    assert ran[-1] == ("on_finish", row.pk, 100)
    assert ran.index((4, None)) == len(ran) - 2


def test_deeper_still(ran):
    deepest = chain([some(1, 2), number(3)])
    row = batch([chain([batch([deepest, number(4)]), number(5)])]).dispatch()
    work()
    row.refresh_from_db()
    assert row.finished
    assert sorted(JobBatch.objects.values_list("depth", flat=True)) == [0, 1, 2]
    assert sorted(values()) == [1, 2, 3, 4, 5]
    assert values()[-1] == 5
    assert nothing_is_left()


def test_large_batches_go_a_slice_at_a_time(ran, monkeypatch):
    monkeypatch.setattr(turns, "FIRST", 2)
    monkeypatch.setattr(upkeep, "SLICE", 3)
    monkeypatch.setattr(upkeep, "BUDGET", 0.0)
    chain([number(0), some(*range(1, 12)), number(12)]).dispatch()
    work(max_jobs=1)
    assert QueuedJob.objects.count() == 2
    assert upkeep.is_due()
    upkeep.look_after()
    assert QueuedJob.objects.count() == 5
    work()
    assert sorted(values()) == list(range(13))
    assert values()[-1] == 12


def test_a_failure_that_is_allowed_goes_on(ran):
    chain([batch([jobs.breaks.bind(), number(1)], allow_failures=True), number(2)]).dispatch()
    work()
    assert values()[-1] == 2
    assert FailedJob.objects.count() == 1
    retry()
    work()
    assert values().count(2) == 1


def test_a_failure_breaks_the_chain(ran):
    whole = chain([batch([jobs.breaks.bind()]), number(2)]).on_failure(jobs.alert.bind("alert"))
    whole.dispatch()
    work()
    assert values() == ["breaks", "alert"]
    assert Outbox.objects.get().broken
    assert inner().turn == "failed"


def test_a_retry_reopens_the_inner_and_the_outer_batch(ran):
    member = chain([batch([jobs.once_broken.bind()]), number(2)])
    row = batch([member, number(3)], allow_failures=True).dispatch()
    work()
    row.refresh_from_db()
    assert (row.pending_jobs, row.failed_jobs, row.finished) == (0, 1, True)
    retry()
    row.refresh_from_db()
    assert (row.pending_jobs, row.failed_jobs, row.finished) == (1, 0, False)
    assert not Outbox.objects.filter(broken=True).exists()
    assert inner().turn == "runs"
    work()
    row.refresh_from_db()
    assert (row.pending_jobs, row.failed_jobs, row.finished) == (0, 0, True)
    assert "mended" in ran


def test_cancelling_the_outer_batch_cancels_the_inner_one(ran):
    row = batch([chain([some(1, 2, 3), number(4)]), number(5)]).dispatch()
    row.cancel()
    upkeep.look_after()
    row.refresh_from_db()
    assert row.finished
    assert inner().cancelled
    assert inner().finished
    work()
    assert ran == []
    assert nothing_is_left()


def test_cancelling_a_batch_removes_members_that_begin_with_a_batch(ran, monkeypatch):
    monkeypatch.setattr(turns, "FIRST", 1)
    members = [number(0), chain([some(1, 2), number(3)]), chain([some(4), number(5)])]
    chain([batch(members), number(6)]).dispatch()
    (outer,) = JobBatch.objects.filter(outer=None)
    outer.cancel()
    work()
    assert [row.pending_jobs for row in JobBatch.objects.all()] == [0, 0, 0]
    assert all(row.finished for row in JobBatch.objects.all())
    assert ran == []
    assert nothing_is_left()


def test_a_batch_whose_turn_never_comes_calls_for_nothing(ran, monkeypatch):
    wishes = {name: jobs.notes.bind(name) for name in ("on_finish", "on_failure", "on_success")}
    row = batch([chain([number(1), some(2, 3, **wishes)])]).dispatch()
    row.cancel()
    work()
    assert ran == []
    assert (inner().turn, inner().finished, inner().cancelled) == ("over", True, True)
    assert nothing_is_left()


def test_a_member_that_waits_for_the_turn_may_be_cancelled_alone(ran):
    members = [number(1), chain([number(2), number(3)]), chain([some(4), number(5)]), number(6)]
    chain([number(0), batch(members), number(7)]).dispatch()
    (outer,) = JobBatch.objects.filter(outer=None)
    assert outer.total_jobs == 4
    for row in Outbox.objects.filter(chain=outer.pk).order_by("pk")[:3]:
        assert find(str(row.uuid)).cancel()
        assert not find(str(row.uuid)).cancel()
    outer.refresh_from_db()
    assert (outer.pending_jobs, outer.turn) == (1, "waits")
    work()
    assert [values()[0], values()[-1], len(ran)] == [0, 7, 3]
    assert all(row.finished for row in JobBatch.objects.all())
    assert nothing_is_left()


def test_cancelling_the_chain_cancels_the_batch_that_runs(ran):
    dispatched = chain([number(0), some(1, 2), number(3)]).dispatch()
    work(max_jobs=2)
    assert dispatched.cancel()
    work()
    assert values() == [0, 1]
    assert inner().cancelled
    assert nothing_is_left()


def test_a_chain_that_breaks_before_it_keeps_it(ran):
    whole = chain([jobs.once_broken.bind(), some(1, 2), number(3)])
    whole.dispatch()
    work()
    assert inner().turn == "waits"
    retry()
    work()
    assert values() == ["broken", "mended", 1, 2, 3]


def test_what_was_forgotten_takes_its_batches_along(ran):
    from djqueue.operations.failed_jobs import forget

    chain([jobs.breaks.bind(), some(1, 2)]).dispatch()
    work()
    forget()
    work()
    assert (inner().turn, inner().finished) == ("over", True)
    assert nothing_is_left()


def test_options_go_down_and_the_nearest_wins():
    own = jobs.number.using(queue="own").bind(1)
    step = batch([own, number(2)]).using(queue="batch", priority=1)
    chain([number(0), step, number(3)]).using(queue="chain", priority=2, delay=60).dispatch()
    waiting = {row.position: row for row in Outbox.objects.filter(chain=inner().chain)}
    assert waiting[3].queue == "chain"
    members = Outbox.objects.filter(chain=inner().pk).order_by("pk")
    assert [(row.queue, row.priority, row.delay) for row in members] == [
        ("own", 1, 0.0),
        ("batch", 1, 0.0),
    ]


def test_a_delay_counts_from_the_turn(ran):
    chain([number(0), batch([jobs.number.using(delay=60).bind(1)]), number(2)]).dispatch()
    assert work() == 1
    assert QueuedJob.objects.get().line is None
    work(delayed=True)
    assert values() == [0, 1, 2]


def test_results_of_members_are_kept_from_the_dispatch_on():
    chain([number(0), batch([jobs.adds.bind(1, 2)])]).dispatch()
    assert JobResult.objects.get().status == "waiting"
    work()
    assert JobResult.objects.get().status == "done"


def test_an_exception_of_the_iterable_leaves_nothing(ran):
    def members():
        yield number(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        chain([number(0), some(5), batch(members())]).dispatch()
    work()
    assert ran == []
    assert nothing_is_left()


@pytest.mark.django_db(transaction=True)
def test_it_is_part_of_the_transaction(ran):
    with transaction.atomic():
        chain([number(0), some(5)]).dispatch()
        transaction.set_rollback(True)
    assert not JobBatch.objects.exists()
    assert nothing_is_left()


@pytest.mark.django_db(transaction=True)
def test_on_another_store(ran, redis_connection):
    whole = chain([number(0), some(1, 2), number(3)]).using(connection=redis_connection)
    row = batch([whole]).dispatch()
    for _ in range(6):
        Outbox.objects.exclude(due_at=None).update(due_at=row.created_at)
        work(redis_connection)
    assert values() == [0, 1, 2, 3]
    row.refresh_from_db()
    assert row.finished
    assert queues[redis_connection].size() == 0


class TestSync:
    @pytest.fixture(autouse=True, params=["sync", "deferred"])
    def here(self, request, settings):
        name = request.param
        settings.DJQUEUE = {
            "DEFAULT": name,
            "CONNECTIONS": {name: {"DRIVER": name}, "database": {"DRIVER": "database"}},
        }

    def test_all_of_it_runs_at_once(self, ran, monkeypatch):
        monkeypatch.setattr(turns, "FIRST", 2)
        row = batch([chain([number(0), some(1, 2, 3, 4), number(5)])]).dispatch()
        assert values() == [0, 1, 2, 3, 4, 5]
        row.refresh_from_db()
        assert row.finished
        assert nothing_is_left()

    def test_members_cannot_run_behind_a_worker(self, ran):
        there = jobs.number.using(connection="database").bind(0)
        for whole in (chain([there, some(1)]), chain([some(1), there, some(2)])):
            with pytest.raises(InvalidJob, match="Nothing was queued"):
                whole.dispatch()
        member = batch([there])
        with pytest.raises(InvalidJob, match="Nothing was queued"):
            chain([member, number(1)]).dispatch()

    def test_callbacks_cannot_run_behind_a_worker(self, ran):
        there = jobs.number.using(connection="database").bind(0)
        whole = batch([there], on_finish=jobs.notes.bind("on_finish"))
        for each in (whole, chain([whole]), batch([chain([there])], on_finish=number(1))):
            with pytest.raises(InvalidJob, match="Nothing was queued"):
                each.dispatch()
        assert not QueuedJob.objects.exists()
        assert ran == []
        assert whole.using(connection="database").dispatch().total_jobs == 1


def test_null_leaves_nothing(ran, settings):
    settings.DJQUEUE = {"DEFAULT": "null", "CONNECTIONS": {"null": {"DRIVER": "null"}}}
    chain([number(0), some(1, 2)]).dispatch()
    chain([some(1, 2), number(0)]).dispatch()
    row = batch([chain([some(1, 2), number(0)]), chain([number(1), some(2)])]).dispatch()
    row.refresh_from_db()
    assert row.finished
    upkeep.look_after()
    assert nothing_is_left()
    assert all(each.finished for each in JobBatch.objects.all())


def test_a_fake_queue_records_and_runs_it(ran):
    with fake_queue() as queue:
        chain([number(0), some(1, 2, name="In"), number(3)]).dispatch()
        chain([batch([number(4), chain([number(5), number(6)])]), number(7)]).dispatch()
        queue.assert_chained([jobs.number, [jobs.number, jobs.number], jobs.number])
        queue.assert_chained([[number(4), [number(5), number(6)]], jobs.number])
        queue.assert_batched(count=2, name="In")
        with pytest.raises(AssertionError, match="a batch of"):
            queue.assert_chained([jobs.number, [jobs.number], jobs.number])
        assert queue.run() == 8
    assert values() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert not JobBatch.objects.exists()


def test_a_batch_of_a_chain_that_was_never_written_calls_for_nothing(ran):
    chain([number(0), some(1, on_finish=jobs.notes.bind("on_finish"))]).dispatch()
    row = inner()
    Outbox.objects.filter(chain=row.chain).delete()
    JobBatch.objects.update(open_until=row.created_at)
    QueuedJob.objects.all().delete()
    assert batches.close_forgotten() == 1
    work()
    row.refresh_from_db()
    assert (row.finished, row.cancelled) == (True, True)
    assert ran == []
    assert nothing_is_left()


def test_a_slice_keeps_all_open_that_its_dispatcher_stages(monkeypatch):
    def members():
        yield number(1)
        JobBatch.objects.update(open_until=timezone.now())
        yield number(2)
        kept.append(JobBatch.objects.filter(open_until__gt=timezone.now()).count())

    monkeypatch.setattr(growing, "SLICE", 1)
    kept = []
    batch([chain([some(1), batch(members())])]).dispatch()
    assert kept == [3]
    assert JobBatch.objects.filter(open_until=None).count() == 3


def test_a_batch_that_is_kept_open_meanwhile_is_not_forgotten(monkeypatch):
    def close(alias, id):
        JobBatch.objects.exclude(pk=id).update(open_until=timezone.now() + timedelta(hours=1))

    rows = [batch([]).dispatch() for _ in range(2)]
    JobBatch.objects.update(open_until=rows[0].created_at, finished_at=None)
    monkeypatch.setattr(batches, "_close", close)
    assert batches.close_forgotten() == 1
    assert JobBatch.objects.filter(cancelled_at=None).count() == 1


def test_steps_that_a_worker_would_have_to_run_cannot_be_added(ran, settings):
    settings.DJQUEUE = {
        "CONNECTIONS": {"database": {"DRIVER": "database"}, "here": {"DRIVER": "sync"}}
    }
    chain([jobs.appends_here.bind()]).dispatch()
    with pytest.raises(InvalidJob, match="which a worker runs"):
        work(raise_errors=True)
