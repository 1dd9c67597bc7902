"""A chain ends with a step that is cancelled, deleted or cleared; nothing of it stays."""

import io
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from djqueue import batch, chain, find, queues
from djqueue.composition.chains import steps
from djqueue.databases.now import UtcNow
from djqueue.dispatch.outbox import outbox
from djqueue.dispatch.outbox.outbox import Written
from djqueue.drivers.guard.ends import note_removals, removing_from
from djqueue.models import FailedJob, JobBatch, JobResult, Outbox, QueuedJob, Run
from djqueue.operations import batches
from djqueue.operations.changes import delete
from djqueue.operations.failed_jobs import Selection, forget
from djqueue.operations.pruning import prune
from djqueue.operations.results import Target
from djqueue.operations.retrying import retry
from djqueue.operations.verbs.moving import Destination, move
from djqueue.payload.ids import new_id
from djqueue.signals import job_cancelled
from djqueue.testing import work
from tests.composition import jobs

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ran():
    jobs.ran.clear()
    return jobs.ran


def numbers(*values):
    return chain([jobs.number.bind(value) for value in values]).on_failure(jobs.alert.bind("alert"))


def is_gone():
    return not Outbox.objects.exists() and not QueuedJob.objects.exists()


def test_cancel_removes_the_step_and_all_behind_it(ran):
    dispatched = numbers(1, 2, 3).dispatch()
    assert dispatched.created
    assert dispatched.cancel()
    assert is_gone()
    assert not dispatched.cancel()
    assert ran == []


def test_cancel_removes_a_later_step(ran):
    dispatched = numbers(1, 2, 3).dispatch()
    assert work(max_jobs=1) == 1
    assert dispatched.status == "unknown"
    assert dispatched.cancel()
    assert is_gone()
    assert ran == [(1, None)]


def test_the_job_of_a_waiting_step_ends_its_chain():
    numbers(1, 2, 3).dispatch()
    step = find(str(Outbox.objects.get(position=3).uuid))
    assert step.status == "waiting"
    assert step.cancel()
    assert not Outbox.objects.exists()
    assert work() == 1


def test_another_chain_goes_on(ran):
    numbers(1, 2).dispatch().cancel()
    numbers(3, 4).dispatch()
    assert work() == 2
    assert ran == [(3, None), (4, 3)]


@pytest.mark.parametrize("how", ["find", "remove", "delete"])
def test_what_removes_a_step_ends_its_chain(how):
    numbers(1, 2).dispatch()
    numbers(3, 4).dispatch()
    first = QueuedJob.objects.order_by("id")[0]
    id = str(first.uuid)
    if how == "find":
        assert find(id).cancel()
    elif how == "remove":
        assert queues["database"].remove(None, [id]) == 1
    else:
        assert len(delete([Target("database", first.queue, id, first.name)]).changed) == 1
    assert Outbox.objects.count() == 2
    assert work() == 2


def test_clear_ends_the_chains_of_its_queue():
    numbers(1, 2).dispatch()
    numbers(3, 4).using(delay=60).dispatch()
    numbers(5, 6).using(queue="other").dispatch()
    jobs.number.dispatch(7)
    assert queues["database"].clear() == 3
    assert Outbox.objects.count() == 2
    assert work() == 2


def test_a_job_that_is_not_removed_keeps_its_chain():
    numbers(1, 2).dispatch()
    QueuedJob.objects.update(queue="elsewhere")
    id = str(QueuedJob.objects.get().uuid)
    assert queues["database"].remove("default", [id]) == 0
    assert Outbox.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_chain_that_waits_for_a_commit_is_cancelled(redis_connection):
    with transaction.atomic():
        dispatched = numbers(1, 2).using(connection=redis_connection).dispatch()
        assert dispatched.created is None
        assert dispatched.cancel()
    assert is_gone()
    assert queues[redis_connection].size() == 0
    with transaction.atomic():
        dispatched = numbers(1, 2).using(connection=redis_connection).dispatch()
    assert dispatched.created
    assert queues[redis_connection].size() == 1
    assert dispatched.cancel()
    assert queues[redis_connection].size() == 0
    assert is_gone()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("removed", [True, False])
def test_a_process_that_dies_while_it_removes_bound_jobs_leaves_nothing_behind(
    redis_connection, monkeypatch, removed
):
    numbers(1, 2).using(connection=redis_connection).dispatch()
    row = batch([jobs.number.bind(3)]).using(connection=redis_connection).dispatch()
    queue = queues[redis_connection]
    targets = [Target(redis_connection, "default", each.id) for each in queue.peek()]
    change = type(queue.inspector).change

    def die(*args):
        if removed:
            assert len(change(*args)) == 2
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(type(queue.inspector), "change", die)
        with pytest.raises(KeyboardInterrupt):
            delete(targets)
    prune()
    assert Outbox.objects.exists(), "it may be at it still"
    Run.objects.update(updated_at=timezone.now() - timedelta(minutes=2))
    prune()
    row.refresh_from_db()
    assert (is_gone(), row.finished, row.pending_jobs) == (removed, removed, 1 - removed)
    work(redis_connection)
    row.refresh_from_db()
    assert (is_gone(), row.finished, row.pending_jobs) == (True, True, 0)
    assert sorted(value for value, _ in jobs.ran) == ([] if removed else [1, 2, 3])


@pytest.mark.django_db(transaction=True)
def test_a_view_that_raises_has_cancelled_nothing(redis_connection, rf):
    dispatched = numbers(1, 2).using(connection=redis_connection).dispatch()
    cancelled = []
    job_cancelled.connect(note := lambda job, **_: cancelled.append(job.id))

    @transaction.atomic
    def view(request):
        assert dispatched.cancel()
        raise LookupError

    with pytest.raises(LookupError):
        view(rf.post("/"))
    assert queues[redis_connection].size() == 1
    assert not Run.objects.exists()
    assert cancelled == []
    with transaction.atomic():
        assert dispatched.cancel()
    assert queues[redis_connection].size() == 0
    assert is_gone()
    assert cancelled == [dispatched.id]
    job_cancelled.disconnect(note)


def test_a_delayed_step_for_another_store_is_cleared_with_its_queue(redis_connection):
    later = jobs.number.using(queue="slow", delay=3600).bind(2)
    of_three = chain([jobs.number.bind(1), later, jobs.number.bind(3)])
    of_three.using(connection=redis_connection).dispatch()
    assert work(redis_connection) == 1
    assert Outbox.objects.count() == 2
    assert queues[redis_connection].clear("default") == 0
    assert Outbox.objects.count() == 2
    out = io.StringIO()
    call_command("queue_clear", redis_connection, queue="slow", dry_run=True, stdout=out)
    assert out.getvalue().startswith("1 job would be deleted from redis:slow.")
    assert queues[redis_connection].clear("slow") == 1
    assert is_gone()


@pytest.fixture
def half_removed(redis_connection, monkeypatch):
    """A chain on redis, whose first step was removed there by a process that died."""
    numbers(1, 2).using(connection=redis_connection).dispatch()
    queue = queues[redis_connection]
    (first,) = queue.peek()
    change = type(queue.inspector).change

    def die(*args):
        change(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(type(queue.inspector), "change", die)
        with pytest.raises(KeyboardInterrupt):
            delete([Target(redis_connection, "default", first.id)])
    Run.objects.update(updated_at=timezone.now() - timedelta(minutes=2))


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_does_not_know_the_connection_ends_nothing_of_it(half_removed, settings):
    known = settings.DJQUEUE
    settings.DJQUEUE = {"CONNECTIONS": {"database": {"DRIVER": "database"}}}
    prune()
    assert Outbox.objects.exists()
    settings.DJQUEUE = known
    prune()
    assert is_gone()


@pytest.fixture
def silent(settings):
    """A store that cannot be reached, beside the others."""

    def add():
        known = settings.DJQUEUE["CONNECTIONS"]
        away = {"DRIVER": "redis", "URL": "redis://127.0.0.1:1/0"}
        settings.DJQUEUE = {**settings.DJQUEUE, "CONNECTIONS": {"silent": away, **known}}
        return known

    return add


@pytest.mark.django_db(transaction=True)
def test_a_removal_is_not_ended_while_another_store_may_have_the_job(
    half_removed, silent, settings
):
    known = silent()
    prune()
    assert Outbox.objects.exists(), "it may have been moved there"
    assert Run.objects.exclude(held_as="").exists()
    settings.DJQUEUE = {**settings.DJQUEUE, "CONNECTIONS": known}
    prune()
    assert is_gone()


@pytest.mark.django_db(transaction=True)
def test_a_note_is_forgotten_of_a_job_that_a_store_has_while_another_one_is_silent(
    redis_connection, silent
):
    numbers(1, 2).using(connection=redis_connection).dispatch()
    (first,) = queues[redis_connection].peek()
    note_removals(steps.store(), redis_connection, {first.id: first.payload})
    Run.objects.update(updated_at=timezone.now() - timedelta(minutes=2))
    silent()
    prune()
    assert not Run.objects.exclude(held_as="").exists()
    assert Outbox.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_members_of_a_cancelled_batch_go_from_the_stores_that_answer(
    redis_connection, silent, caplog
):
    caplog.set_level("INFO", "djqueue")
    later = jobs.number.using(delay=3600).bind(1)
    row = batch([later, later]).using(connection=redis_connection).dispatch()
    silent()
    row.cancel()
    row.refresh_from_db()
    assert (row.pending_jobs, row.finished) == (0, True)
    assert queues[redis_connection].size() == 0
    assert "Jobs of connection silent are left to the next time" in caplog.text


@pytest.mark.parametrize(("hours", "ends"), [(1, False), (25, True)])
def test_a_note_of_a_connection_that_no_settings_have_ends_after_a_day(hours, ends):
    numbers(1, 2).dispatch()
    row = QueuedJob.objects.get()
    note_removals(steps.store(), "renamed", {str(row.uuid): row.payload})
    row.delete()
    Run.objects.update(updated_at=timezone.now() - timedelta(hours=hours))
    prune()
    assert is_gone() == ends


def test_two_long_names_of_connections_are_two():
    one, other = removing_from("a" * 100 + "b"), removing_from("a" * 100 + "c")
    assert one != other
    assert max(map(len, (one, other, removing_from("a" * 90)))) <= 100


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_moved_while_it_is_looked_for_is_not_lost(
    redis_connection, monkeypatch, settings
):
    numbers(1, 2).using(connection=redis_connection).dispatch()
    queue = queues[redis_connection]
    (first,) = queue.peek()
    note_removals(steps.store(), redis_connection, {first.id: first.payload})
    Run.objects.update(updated_at=timezone.now() - timedelta(minutes=2))
    inspector = type(queue.driver.inspector())
    find = inspector.find

    def find_later(*args):
        monkeypatch.setattr(inspector, "find", find)
        with monkeypatch.context() as slowly:
            slowly.setattr(Written, "move", lambda *_: None)
            target = Target(redis_connection, "default", first.id)
            assert move([target], Destination(queue="slow")).changed
        return find(*args)

    monkeypatch.setattr(inspector, "find", find_later)
    prune()
    assert Outbox.objects.count() == 3, "on its way: the step, with what waits behind it"
    Outbox.objects.filter(chain=None).update(taken_until=None, taken_by="", due_at=UtcNow())
    outbox.replay()
    work(redis_connection)
    assert [value for value, _ in jobs.ran] == [1, 2]


def broken_at_a_batch(member):
    chain([batch([member]), jobs.number.bind(2)]).dispatch()
    work()
    assert Outbox.objects.filter(broken=True).exists()


def inner_chain():
    return chain([batch([jobs.breaks.bind()]), jobs.number.bind(1)])


@pytest.mark.parametrize("member", [jobs.breaks.bind, inner_chain])
def test_the_last_failed_member_that_is_forgotten_ends_the_chain(member):
    broken_at_a_batch(member())
    assert forget() == 1
    assert is_gone()


def test_one_that_is_left_may_still_be_retried():
    broken_at_a_batch(jobs.breaks.bind())
    row = FailedJob.objects.get()
    first, row.pk, row.uuid = row.uuid, None, new_id()
    row.save(force_insert=True)
    assert forget(Selection(ids=(str(first),))) == 1
    assert not is_gone()
    assert forget() == 1
    assert is_gone()


def test_a_member_that_is_forgotten_before_its_batch_has_finished_ends_the_chain_then():
    alert = jobs.alert.bind("failed")
    chain([batch([jobs.breaks.bind(), jobs.number.bind(1)]), jobs.number.bind(2)]).on_failure(
        alert
    ).dispatch()
    assert work(max_jobs=1) == 1
    assert forget() == 1
    assert not is_gone(), "the batch has not finished"
    work()
    assert is_gone()
    assert jobs.ran[-1] == "failed"


def test_one_of_two_that_is_forgotten_ends_the_chain_when_the_other_has_succeeded():
    broken_at_a_batch(jobs.once_broken.bind())
    row = FailedJob.objects.get()
    row.pk, row.uuid = None, new_id()
    row.save(force_insert=True)
    JobBatch.objects.update(failed_jobs=2)
    assert forget(Selection(ids=(str(row.uuid),))) == 1
    retry()
    work()
    assert is_gone()


def test_a_pruned_batch_ends_the_chain_that_broke_at_it():
    broken_at_a_batch(jobs.breaks.bind())
    assert batches.prune(timezone.now() + timedelta(hours=1)) == 1
    assert is_gone()


@pytest.mark.django_db(transaction=True)
def test_so_are_the_results_of_its_steps(redis_connection):
    steps = chain([jobs.adds.bind(1, 2), jobs.adds.bind(3, 4)]).using(connection=redis_connection)
    with transaction.atomic():
        dispatched = steps.dispatch()
        assert dispatched.cancel()
    assert dispatched.status == "cancelled"
    assert list(JobResult.objects.values_list("status", flat=True)) == ["cancelled"] * 2


@pytest.mark.django_db(transaction=True)
def test_a_rollback_leaves_nothing(redis_connection):
    def fail(connection):
        with transaction.atomic():
            numbers(1, 2).using(connection=connection).dispatch()
            raise ZeroDivisionError

    for connection in ("database", redis_connection):
        with pytest.raises(ZeroDivisionError):
            fail(connection)
    assert is_gone()
    assert queues[redis_connection].size() == 0
    assert work() == 0


@pytest.mark.django_db(transaction=True)
def test_a_deleted_step_on_redis_ends_its_chain(redis_connection):
    dispatched = numbers(1, 2, 3).using(connection=redis_connection).dispatch()
    assert queues[redis_connection].remove(None, [dispatched.id]) == 1
    assert not Outbox.objects.exists()
    numbers(1, 2, 3).using(connection=redis_connection).dispatch()
    assert queues[redis_connection].clear() == 1
    assert not Outbox.objects.exists()
