"""Moving jobs between queues, connections, priorities and times: nothing is lost, or run twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.utils.translation import override

from djqueue import batch, chain, job, queues
from djqueue.dispatch.outbox import outbox
from djqueue.drivers.base import Change, State
from djqueue.drivers.redis.driver import RedisDriver
from djqueue.errors import QueueUnavailable
from djqueue.jobs import registry
from djqueue.models import JobBatch, JobResult, Outbox, Payload, QueuedJob
from djqueue.operations import results, selection
from djqueue.operations.verbs.moving import Destination, move
from djqueue.payload import history
from djqueue.payload import store as payload_store
from djqueue.testing import work
from tests.app import jobs

pytestmark = pytest.mark.django_db(transaction=True)


def targets(*dispatched):
    return selection.choose([each.id for each in dispatched]).targets


def test_in_the_database_a_job_keeps_all_that_is_known_of_it():
    job = jobs.record.dispatch(1)
    past = history.add(history.read(""), history.Entry(1, "raised", "OSError", "no"))
    QueuedJob.objects.update(attempts=2, history=past)
    (target,) = targets(job)
    assert move([target], Destination(queue="slow", priority=7)).changed == [target]
    (moved,) = queues["database"].peek("slow")
    assert (moved.id, moved.attempts, moved.priority, moved.history) == (job.id, 2, 7, past)
    assert QueuedJob.objects.get().line == -7


def test_a_job_runs_later_or_sooner():
    job = jobs.record.dispatch(1)
    assert len(move(targets(job), Destination(delay=60)).changed) == 1
    (later,) = queues["database"].peek(state="delayed")
    assert 50 < (later.available_at - later.read_at).total_seconds() <= 60
    assert len(move(targets(job), Destination(delay=0)).changed) == 1
    assert [each.id for each in queues["database"].peek()] == [job.id]
    assert work() == 1


@pytest.mark.parametrize("there", ["database", "redis"])
def test_a_job_goes_to_another_store_with_what_it_is_bound_to(redis, ledger, there):
    here = "redis" if there == "database" else "database"
    first = chain([jobs.record.using(connection=here).bind(n) for n in (1, 2)]).dispatch()
    members = batch([jobs.record.using(connection=here).bind(3)]).dispatch()
    (member,) = (job for job in queues[here].peek() if job.id != first.id)
    result = move(selection.choose([first.id, member.id]).targets, Destination(there, "other", 5))
    assert len(result.changed) == 2
    assert queues[here].is_empty()
    assert not Outbox.objects.filter(chain=None).exists()
    assert {job.priority for job in queues[there].peek("other")} == {5}
    assert work(there) == 2
    assert work(here) == 1, "the next step waits where it was to run"
    assert sorted(ledger.details("end")) == ["1", "2", "3"]
    found = JobBatch.objects.get(pk=members.id)
    assert (found.pending_jobs, found.failed_jobs) == (0, 0)


def test_a_delayed_job_stays_delayed(redis):
    job = jobs.record.using(delay=500).dispatch(1)
    assert len(move(targets(job), Destination("redis")).changed) == 1
    (moved,) = queues["redis"].peek(state=State.DELAYED)
    assert 490 < (moved.available_at - moved.read_at).total_seconds() <= 500


def test_a_job_may_go_away_and_come_back(redis, ledger):
    job = jobs.record.using(connection="redis").dispatch(1)
    for place in (Destination(queue="a"), Destination("database"), Destination("redis", "default")):
        assert len(move(targets(job), place).changed) == 1
    assert work("redis") == 1
    assert ledger.details("end") == ["1"]


def test_a_store_that_is_away_leaves_the_job_in_the_outbox(redis, ledger, monkeypatch):
    job = jobs.record.dispatch(1)
    with monkeypatch.context() as away:
        away.setattr(RedisDriver, "push", _away)
        assert len(move(targets(job), Destination("redis")).changed) == 1
    assert not QueuedJob.objects.exists()
    Outbox.objects.update(due_at="2020-01-01T00:00Z", taken_until=None)
    assert outbox.replay() == 1
    assert work("redis") == 1
    assert ledger.details("end") == ["1"]


def _away(self, jobs):
    raise QueueUnavailable("The server is away.", ambiguous=False)


@pytest.mark.parametrize("before", [True, False])
def test_a_process_that_dies_between_two_stores_loses_nothing(redis, ledger, monkeypatch, before):
    job = jobs.record.using(connection="redis").dispatch(1)
    change = type(queues["redis"].inspector).change

    def die(self, what: Change, queue, seen):
        if not before:
            change(self, what, queue, seen)
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(type(queues["redis"].inspector), "change", die)
        with pytest.raises(KeyboardInterrupt):
            move(targets(job), Destination("database"))
    Outbox.objects.update(due_at="2020-01-01T00:00Z", taken_until=None)
    assert outbox.replay() == 1
    assert work("database") == 1
    assert ledger.details("end") == ["1"]


@job(name="moving.keep", store_result=True)
def keep(text: str) -> None:
    """Do nothing."""


def _noted(id):
    return (
        Payload.objects.get(pk=id).connection,
        JobResult.objects.values_list("connection", "queue").get(pk=id),
    )


def test_a_job_leaves_the_database_together_with_the_note_where_it_goes(redis, monkeypatch):
    """Else pruning would look for it where it was, and delete its arguments."""
    sent = keep.dispatch("x")
    payload_store.write("database", [payload_store.Entry(sent.id, b"x")])

    def die(ids, connection):
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(payload_store, "moved", die)
        with pytest.raises(KeyboardInterrupt):
            move(targets(sent), Destination("redis", "b"))
    assert QueuedJob.objects.filter(uuid=sent.id).exists()
    assert not Outbox.objects.exists()
    assert _noted(sent.id) == ("database", ("database", "default"))
    assert len(move(targets(sent), Destination("redis", "b")).changed) == 1
    assert _noted(sent.id) == ("redis", ("redis", "b"))


def test_a_process_that_dies_before_the_outbox_is_asked_has_noted_it(redis, monkeypatch):
    sent = keep.using(connection="redis").dispatch("x")
    payload_store.write("redis", [payload_store.Entry(sent.id, b"x")])
    change = type(queues["redis"].inspector).change

    def die(self, what: Change, queue, seen):
        change(self, what, queue, seen)
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(type(queues["redis"].inspector), "change", die)
        with pytest.raises(KeyboardInterrupt):
            move(targets(sent), Destination("database", "b"))
    assert _noted(sent.id) == ("database", ("database", "b"))


def test_a_job_that_its_store_did_not_let_go_is_noted_where_it_was(redis, monkeypatch):
    sent = keep.using(connection="redis").dispatch("x")
    payload_store.write("redis", [payload_store.Entry(sent.id, b"x")])

    def away(self, what, queue, seen):
        raise QueueUnavailable("It is away.", ambiguous=False)

    found = targets(sent)
    with monkeypatch.context() as broken:
        broken.setattr(type(queues["redis"].inspector), "change", away)
        assert len(move(found, Destination("database", "b")).left) == 1
    assert _noted(sent.id) == ("redis", ("redis", "default"))


@pytest.mark.parametrize("ran_there", [True, False])
@pytest.mark.parametrize("to", [Destination("database"), Destination(queue="other")])
def test_a_bound_job_that_is_in_both_stores_runs_and_counts_once(
    redis, ledger, monkeypatch, ran_there, to
):
    row = batch([jobs.record.using(connection="redis").bind(n) for n in (1, 2)]).dispatch()
    moved = queues["redis"].peek()[0]
    with monkeypatch.context() as silent:
        silent.setattr(type(queues["redis"].inspector), "change", _silent)
        (left,) = move(selection.choose([moved.id]).targets, to).left
    assert "no answer" in left.why
    if ran_there:
        assert work("redis") == 2
    Outbox.objects.update(due_at="2020-01-01T00:00Z", taken_until=None)
    outbox.replay()
    assert not Outbox.objects.exists()
    for connection in ("database", "redis"):
        work(connection)
    assert sorted(ledger.details("end")) == ["1", "2"]
    row.refresh_from_db()
    assert (row.pending_jobs, row.failed_jobs, row.finished) == (0, 0, True)
    assert queues["redis"].is_empty("other")


def _silent(self, what, queue, seen):
    raise QueueUnavailable("There was no answer.")


def test_nothing_is_moved_if_the_store_did_not_hear_of_it(redis, monkeypatch):
    job = jobs.record.using(connection="redis").dispatch(1)

    def away(self, what, queue, seen):
        raise QueueUnavailable("It is away.", ambiguous=False)

    monkeypatch.setattr(type(queues["redis"].inspector), "change", away)
    assert len(move(targets(job), Destination("database")).left) == 1
    assert not Outbox.objects.exists()


def test_what_a_worker_has_taken_stays_where_it_is(redis):
    job = jobs.record.using(connection="redis").dispatch(1)
    found = targets(job)
    queues["redis"].driver.session().exchange([], ["default"], 1)
    (left,) = move(found, Destination("database")).left
    assert left.reason is results.RUNNING
    assert not Outbox.objects.exists()
    assert not QueuedJob.objects.exists()


def test_what_cannot_be_moved_is_said_with_the_reason(redis):
    waits = jobs.record.dispatch(1)
    (left,) = move(targets(waits), Destination("sync")).left
    assert left.why == 'Connection "sync" keeps no jobs. Name another one.'
    (left,) = move(targets(waits), Destination("redsi")).left
    assert 'Did you mean "redis"?' in left.why
    found = targets(waits)
    waits.cancel()
    assert move(found, Destination(queue="b")).left[0].reason is results.FINISHED


def test_a_size_is_written_as_the_language_does(redis, monkeypatch):
    small = replace(RedisDriver.capabilities, max_payload=1_000)
    monkeypatch.setattr(RedisDriver, "capabilities", small)
    with override("de"):
        (left,) = move(targets(keep.dispatch("x" * 2_000)), Destination("redis")).left
        assert "1.000" in left.why


def test_a_debounced_job_waits_where_it_is():
    @job(name="moving.save", debounce=30)
    def save(text: str) -> None:
        """Do nothing."""

    try:
        sent = save.dispatch("x")
        (left,) = move(targets(sent), Destination(queue="b")).left
    finally:
        registry.unregister("moving.save")
    assert left.why == "it waits in SQL until it is due, and cannot be moved from there."
