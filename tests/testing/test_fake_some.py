"""`fake_queue` for some jobs, with the keys of unique and debounced ones, and where jobs go.

Only what is dispatched as ever needs a database.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from djqueue import batch, chain, dispatch_many, job
from djqueue.jobs import registry
from djqueue.models import QueuedJob
from djqueue.testing import fake_queue, work
from tests.testing import jobs
from tests.testing.jobs import Write, greet


@pytest.fixture
def unique_job():
    @job(name="testing.alone", unique=True)
    def alone(number: int) -> None:
        jobs.ran.append((number, alone.dispatch(number).created))

    yield alone
    registry.unregister("testing.alone")


@pytest.fixture
def debounced_job():
    @job(name="testing.last", debounce=30)
    def last(number: int) -> None:
        jobs.ran.append(number)

    yield last
    registry.unregister("testing.last")


# -- some are recorded -----------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("which", [{"only": [greet]}, {"except_": [Write]}])
def test_the_others_are_dispatched(which):
    with fake_queue(**which) as queue:
        greet.dispatch("you")
        Write("a").dispatch()
        assert dispatch_many([Write("b"), greet.bind("all"), Write("c")]) == 3
    assert [job.who for job in queue.dispatched(greet)] == ["you", "all"]
    queue.assert_not_dispatched(Write)
    assert QueuedJob.objects.count() == 3
    assert work() == 3


@pytest.mark.django_db
def test_an_outer_fake_takes_what_the_inner_one_does_not():
    with fake_queue() as outer, fake_queue(only=[greet]) as inner:
        greet.dispatch("you")
        Write("a").dispatch()
    inner.assert_dispatched(greet, times=1)
    outer.assert_dispatched(Write, times=1)
    outer.assert_not_dispatched(greet)


@pytest.mark.django_db
def test_chains_and_batches_are_recorded_as_a_whole():
    with fake_queue(only=[greet]) as queue:
        chain([Write("a"), greet.bind("you")]).dispatch()
        batch([Write("b"), greet.bind("you")], name="mixed").dispatch()
        chain([Write("c"), Write("d")]).dispatch()
        batch([Write("e")], name="real").dispatch()
    queue.assert_chained([Write, greet])
    queue.assert_batched(2, "mixed")
    assert (len(queue.chains), len(queue.batches)) == (1, 1)
    assert QueuedJob.objects.count() == 2


def test_it_decorates_a_test():
    @fake_queue(except_=[Write])
    def test(queue):
        assert not queue.takes(Write("a"))
        assert queue.takes(greet.bind("you"))

    test()


def test_what_is_no_job_is_refused():
    with pytest.raises(TypeError, match="neither a job class nor a function"):
        fake_queue(only=[int])
    with pytest.raises(TypeError, match="not both"):
        fake_queue(only=[Write], except_=[greet])


# -- keys ------------------------------------------------------------------------------------------


def test_a_second_dispatch_of_a_unique_job_is_not_recorded(unique_job):
    with fake_queue() as queue:
        first, second = unique_job.dispatch(1), unique_job.dispatch(1)
        assert unique_job.dispatch(2).created
        assert dispatch_many([unique_job.bind(1), unique_job.bind(3)]) == 1
        assert (first.created, second.created, second.existing) == (True, False, first.id)
        assert second.id != first.id
        assert second.status == "waiting"
        queue.assert_dispatched(unique_job, times=1, where=lambda job: job.number == 1)


def test_its_key_is_free_when_it_has_run_or_is_cancelled(unique_job):
    with fake_queue() as queue:
        unique_job.dispatch(1)
        assert queue.run() == 1
        assert jobs.ran == [(1, False)]
        again = unique_job.dispatch(1)
        assert again.created
        assert unique_job.dispatch(1).cancel()  # which is about the first
        assert again.status == "unknown"
        assert unique_job.dispatch(1).created


def test_where_jobs_run_at_once_there_are_no_keys(unique_job):
    with fake_queue() as queue:
        for _ in range(2):
            assert unique_job.using(connection="sync").dispatch(1).created
    queue.assert_dispatched(unique_job, times=2)


def test_of_debounced_jobs_the_last_one_is_recorded(debounced_job):
    with fake_queue() as queue:
        dispatched = [debounced_job.dispatch(number) for number in range(3)]
        assert len({each.id for each in dispatched}) == 1
        assert [each.created for each in dispatched] == [True, False, False]
        assert dispatched[0].status == "delayed"
        queue.assert_dispatched(debounced_job, times=1, delay=30)
        assert queue.run() == 1
        assert debounced_job.dispatch(4).created
    assert jobs.ran == [2]


# -- where they go ---------------------------------------------------------------------------------


def test_queue_connection_and_delay_can_be_asked_for():
    with fake_queue() as queue:
        greet.using(queue="high", delay=60).dispatch("you")
        greet.using(connection="null").dispatch("all")
    queue.assert_dispatched(greet, times=1, queue="high", delay=timedelta(minutes=1))
    queue.assert_dispatched(greet, times=1, connection="null", delay=0)
    queue.assert_not_dispatched(greet, queue="low")
    assert [job.who for job in queue.dispatched(greet, queue="high")] == ["you"]
    with pytest.raises(AssertionError) as failed:
        queue.assert_dispatched(greet, queue="low", delay=60)
    assert "greet queue='low' delay=60 was not dispatched." in str(failed.value)
    assert "on database:high, 60 s later" in str(failed.value)
    with pytest.raises(TypeError, match="does not take 'queu'"):
        queue.assert_dispatched(greet, queu="low")


def test_a_failure_shows_the_nearest_chain_first():
    with fake_queue() as queue:
        chain([Write("a"), Write("b"), Write("c")]).dispatch()
        chain([greet.bind("you"), Write("b")]).dispatch()
    with pytest.raises(AssertionError) as failed:
        queue.assert_chained([greet, greet])
    shown = str(failed.value)
    assert "nearest first" in shown
    assert shown.index("greet(who='you'") < shown.index("Write(text='c'")
