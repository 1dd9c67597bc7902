"""Chains run their steps in order, each once, and stop at a failure."""

from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone

from djqueue import batch, chain
from djqueue.composition import follower
from djqueue.composition.chains.steps import ON_FAILURE
from djqueue.errors import InvalidJob
from djqueue.models import FailedJob, Outbox, QueuedJob
from djqueue.operations.failed_jobs import Selection, forget
from djqueue.operations.retrying import retry
from djqueue.signals import job_queued
from djqueue.testing import work
from tests.composition import jobs

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ran():
    jobs.ran.clear()
    return jobs.ran


def test_each_step_runs_after_the_one_before(ran):
    chain([jobs.number.bind(1), jobs.number.bind(2), jobs.number.bind(3)]).dispatch()
    assert QueuedJob.objects.count() == 1
    assert Outbox.objects.count() == 2
    assert work() == 3
    assert ran == [(1, None), (2, 1), (3, 2)]
    assert not QueuedJob.objects.exists()
    assert not Outbox.objects.exists()


def test_a_failure_breaks_the_chain_and_runs_what_is_for_it(ran):
    broken = chain([jobs.number.bind(1), jobs.breaks.bind(), jobs.number.bind(3)])
    broken.on_failure(jobs.alert.bind("alert")).dispatch()
    assert work() == 3
    assert ran == [(1, None), "breaks", "alert"]
    assert list(Outbox.objects.values_list("broken", "position")) == [(True, 3)]
    assert FailedJob.objects.count() == 1


def test_a_step_adds_steps(ran):
    chain([jobs.grows.bind(), jobs.number.bind(7)]).dispatch()
    assert work() == 4
    assert ran == ["grows", 4, (5, None), (7, 5), (9, 7)]


def test_the_steps_of_a_chain_among_them_come_in_its_place(ran):
    number = jobs.number
    inner = chain([number.bind(2), number.using(queue="own").bind(3)]).using(queue="slow", delay=60)
    chain([number.bind(1), chain([inner]), number.bind(4)]).using(queue="outer").dispatch()
    waiting = Outbox.objects.order_by("position")
    assert list(waiting.values_list("queue", flat=True)) == ["slow", "own", "outer"]
    assert work(max_jobs=1) == 1
    assert work() == 0  # delayed
    assert work(delayed=True) == 3
    assert ran == [(1, None), (2, 1), (3, 2), (4, 3)]


def test_the_delay_of_a_step_counts_from_its_turn(ran):
    later = jobs.alert.using(delay=timedelta(hours=1))
    broken = jobs.breaks.using(delay=60).bind()
    chain([jobs.number.bind(1), broken]).on_failure(later.bind("alert")).dispatch()
    for delay in (60, 3600):
        assert work() == (1 if delay == 60 else 0)
        row = QueuedJob.objects.get()
        assert abs((row.available_at - timezone.now()).total_seconds() - delay) < 30
        assert work(delayed=True, max_jobs=1) == 1
    assert ran == [(1, None), "breaks", "alert"]


@pytest.mark.django_db(transaction=True)
def test_the_delay_of_a_step_counts_on_other_stores_too(ran, redis_connection):
    steps = [jobs.number.bind(1), jobs.number.using(delay=60).bind(2)]
    chain(steps).using(connection=redis_connection).dispatch()
    work(redis_connection)
    row = Outbox.objects.get()
    assert row.parked
    assert abs((row.due_at - timezone.now()).total_seconds() - 60) < 30
    Outbox.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    work(redis_connection)
    assert ran == [(1, None), (2, 1)]


def test_a_chain_among_the_steps_breaks_the_whole(ran):
    inner = chain([jobs.breaks.bind(), jobs.number.bind(2)])
    chain([inner, jobs.number.bind(3)]).on_failure(jobs.alert.bind("alert")).dispatch()
    assert work() == 2
    assert ran == ["breaks", "alert"]
    assert Outbox.objects.count() == 2
    with pytest.raises(InvalidJob, match="on_failure"):
        chain([inner.on_failure(jobs.alert.bind("inner")), jobs.number.bind(3)])


def test_a_retried_step_takes_the_chain_up_again(ran):
    chain([jobs.once_broken.bind(), jobs.number.bind(3)]).dispatch()
    assert work() == 1
    assert Outbox.objects.get().broken
    retry()
    assert not Outbox.objects.get().broken
    assert work() == 2
    assert ran == ["broken", "mended", (3, None)]


def test_a_forgotten_step_takes_along_what_waits_behind_it(ran):
    chain([jobs.breaks.bind(), jobs.number.bind(3)]).dispatch()
    chain([jobs.breaks.bind(), jobs.number.bind(4)]).dispatch()
    assert work() == 2
    first = FailedJob.objects.order_by("id").values_list("uuid", flat=True)[0]
    assert forget(Selection(ids=(str(first),))) == 1
    assert Outbox.objects.count() == 1
    forget()
    assert not Outbox.objects.exists()


class TestSync:
    @pytest.fixture(autouse=True)
    def sync(self, settings):
        settings.DJQUEUE = {"DEFAULT": "sync", "CONNECTIONS": {"sync": {"DRIVER": "sync"}}}

    def test_steps_run_at_once(self, ran):
        chain([jobs.number.bind(1), jobs.grows.bind(), jobs.total.bind()]).dispatch()
        assert ran == [(1, None), "grows", 5, (5, None), "total", (9, 6)]
        assert not Outbox.objects.exists()

    def test_the_first_error_is_raised(self, ran):
        broken = chain([jobs.breaks.bind(), jobs.number.bind(3)])
        with pytest.raises(ValueError, match="broken"):
            broken.on_failure(jobs.alert.bind("alert")).dispatch()
        assert ran == ["breaks", "alert"]
        assert not Outbox.objects.exists()


def test_options_of_a_chain_are_those_of_its_steps_unless_they_have_their_own():
    steps = [jobs.number.bind(1), jobs.number.using(queue="own").bind(2), jobs.number.bind(3)]
    chain(steps).using(queue="all", delay=60).on_failure(jobs.alert.bind("x")).dispatch()
    first = QueuedJob.objects.get()
    assert (first.queue, first.line) == ("all", None)
    waiting = list(Outbox.objects.order_by("position").values_list("queue", "position"))
    assert waiting == [("own", 2), ("all", 3), ("all", ON_FAILURE)]


def test_a_value_that_is_no_argument_is_missed_where_it_is_asked_for(ran):
    chain([jobs.odd.bind(), jobs.number.bind(2)]).dispatch()
    assert work() == 2
    failed = FailedJob.objects.get()
    assert failed.exception_class == "djqueue.errors.ResultNotStored"
    assert "could not be stored" in failed.exception_message


def test_a_value_that_is_too_large_is_missed_where_it_is_asked_for(ran, monkeypatch):
    monkeypatch.setattr(follower, "MOST", 2_000)
    chain([jobs.long.bind(3_000), jobs.number.bind(2)]).dispatch()
    assert work() == 2
    assert "2,000 may be passed on" in FailedJob.objects.get().exception_message


def test_large_arguments_of_steps_are_kept_apart(ran, settings):
    settings.DJQUEUE = {"CONNECTIONS": {"database": {"DRIVER": "database", "STORE_ABOVE": 1_000}}}
    chain([jobs.number.bind(1), jobs.length.bind("x" * 5_000)]).dispatch()
    assert len(Outbox.objects.get().payload) < 1_000
    assert work() == 2
    assert ran == [(1, None), 5_000]


@pytest.mark.django_db(transaction=True)
def test_coroutines_dispatch_chains(ran):
    dispatched = async_to_sync(chain([jobs.number.bind(1), jobs.number.bind(2)]).adispatch)()
    assert async_to_sync(dispatched.acancel)()
    assert not Outbox.objects.exists()


def test_an_empty_chain_is_an_error():
    with pytest.raises(InvalidJob, match="at least one job"):
        chain([]).dispatch()


def test_what_is_no_job_is_an_error_at_once():
    with pytest.raises(TypeError, match=r"number\.bind"):
        chain([jobs.number])


def test_the_signal_is_sent_for_the_first_step():
    queued = []

    def receiver(job, **_):
        queued.append(job.id)

    job_queued.connect(receiver)
    try:
        dispatched = chain([jobs.number.bind(1), jobs.number.bind(2)]).dispatch()
    finally:
        job_queued.disconnect(receiver)
    assert queued == [dispatched.id]


def test_what_would_run_in_a_worker_is_refused():
    here = jobs.alert.bind("here").using(connection="sync")
    for refused in (
        chain([jobs.number.bind(1), here]),
        chain([here, jobs.number.bind(1), here]),
        chain([jobs.number.bind(1)]).on_failure(here),
    ):
        with pytest.raises(InvalidJob, match="Nothing was queued"):
            refused.dispatch()
        with pytest.raises(InvalidJob, match="Nothing was queued"):
            batch([refused]).dispatch()
    assert not QueuedJob.objects.exists()
    assert not Outbox.objects.exists()
    chain([here, jobs.number.bind(1)]).dispatch()
    assert work() == 1
