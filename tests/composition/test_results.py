"""Results are there from the dispatch on, whoever runs the job and however it ends."""

from decimal import Decimal

import pytest
from django.db import transaction

from djqueue import chain, context, dispatch_many, dispatch_sync, find, queues
from djqueue.errors import JobFailed, NotSerializable, ResultNotStored, ResultTimeout
from djqueue.models import FailedJob, JobResult
from djqueue.operations.retrying import retry
from djqueue.testing import work
from tests.composition import jobs

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ran():
    jobs.ran.clear()
    return jobs.ran


def test_the_value_is_there_when_the_job_has_ended(ran):
    dispatched = jobs.adds.dispatch(1, 2)
    assert dispatched.status == "waiting"
    assert dispatched.progress is None
    with pytest.raises(ResultTimeout, match="had not ended after 0 s"):
        dispatched.result(timeout=0)
    assert work() == 1
    assert ran == [(1, 2, 50, "half of it")]
    assert dispatched.result() == find(dispatched.id).result(timeout=1) == 3
    assert dispatched.status == "done"
    assert dispatched.progress == (1, 2, 50, "half of it")


def test_a_timeout_is_pythons_own_too():
    with pytest.raises(TimeoutError):
        jobs.adds.dispatch(1, 2).result(timeout=0.01)


def test_of_other_jobs_nothing_is_kept():
    dispatched = jobs.number.dispatch(1)
    assert not JobResult.objects.exists()
    with pytest.raises(ResultNotStored, match="store_result"):
        dispatched.result()
    assert dispatched.progress is None
    work()
    assert dispatched.status == "unknown"


@pytest.mark.parametrize("how", ["delete", "nothing", "release", "fail once"])
def test_what_returns_nothing_is_done(how):
    dispatched = jobs.Kept(how).dispatch()
    assert work() in (1, 2)
    assert (dispatched.status, dispatched.result()) == ("done", None)


def test_a_value_comes_back_as_the_type_that_it_was():
    dispatched = jobs.akept.dispatch(Decimal("1.5"))
    other = jobs.Kept("decimal").dispatch()
    work()
    assert (dispatched.result(), type(dispatched.result())) == (3, Decimal)
    assert dispatched.progress == (3, 3, 100, "all")
    assert other.result() == {"price": Decimal("1.50")}


@pytest.mark.parametrize("how", ["fail", "give up"])
def test_a_failure_is_an_error_until_it_is_retried(how, ran):
    dispatched = jobs.Kept(how).dispatch()
    assert work() == (2 if how == "fail" else 1)
    assert dispatched.status == "failed"
    with pytest.raises(JobFailed, match=r"composition\.Kept .* failed: .*(broken|enough)"):
        dispatched.result()
    assert dispatched.progress == (len(ran), 10, 10 * len(ran), "")
    retry()
    assert dispatched.status == "waiting"
    assert dispatched.progress is None
    work()
    assert dispatched.status == "failed"


@pytest.mark.parametrize(("how", "why"), [("object", "type object"), ("large", "1048579 char")])
def test_what_cannot_be_stored_is_said_when_it_is_asked_for(how, why):
    dispatched = jobs.Kept(how).dispatch()
    work()
    assert dispatched.status == "done"
    with pytest.raises(ResultNotStored, match=why):
        dispatched.result()


def test_a_cancelled_job_has_no_result():
    dispatched = jobs.adds.dispatch(1, 2)
    assert dispatched.cancel()
    assert dispatched.status == "cancelled"
    with pytest.raises(JobFailed, match="was cancelled"):
        dispatched.result()


def test_the_owner_is_the_user_of_the_context():
    with context.scope(user_id=7):
        jobs.adds.dispatch(1, 2)
    jobs.adds.dispatch(1, 2)
    assert set(JobResult.objects.values_list("owner", flat=True)) == {"", "7"}


def test_a_bulk_dispatch_keeps_the_results_of_those_that_want_it():
    dispatch_many([jobs.adds.bind(n, 1) if n % 2 else jobs.number.bind(n) for n in range(60)])
    assert JobResult.objects.filter(status="waiting").count() == 30
    assert work() == 60
    values = JobResult.objects.filter(status="done").values_list("value", flat=True)
    assert sorted(map(int, values)) == [n + 1 for n in range(60) if n % 2]


def test_a_rollback_leaves_neither_job_nor_row():
    with transaction.atomic():
        jobs.adds.dispatch(1, 2)
        dispatch_many([jobs.adds.bind(1, 2)])
        transaction.set_rollback(True)
    assert not JobResult.objects.exists()
    assert work() == 0


def test_dispatch_sync_returns_the_value_and_stores_nothing():
    assert dispatch_sync(jobs.adds.bind(1, 2)) == 3
    assert not JobResult.objects.exists()


def test_results_can_be_turned_off(settings):
    settings.DJQUEUE = {"RESULTS": None}
    dispatched = jobs.adds.dispatch(1, 2)
    assert work() == 1
    assert not JobResult.objects.exists()
    assert dispatched.progress is None
    with pytest.raises(ResultNotStored):
        dispatched.result()


@pytest.mark.parametrize("wrong", [-1, float("nan"), "1", None, True])
def test_progress_takes_numbers(wrong):
    from djqueue.runner.current import CurrentJob

    with pytest.raises(ValueError, match=r"progress\(\) was given"):
        CurrentJob("id", "name", "queue", "connection", 1).progress(wrong, 10)


def test_a_long_message_is_cut_between_letters():
    from djqueue.runner.current import CurrentJob

    job = CurrentJob("id", "name", "queue", "connection", 1)
    job.progress(1, 2, "é" * 150 + "\0")
    assert job.reported == (1, 2, "é" * 100)


class TestSync:
    @pytest.fixture(autouse=True)
    def sync(self, settings):
        settings.DJQUEUE = {"DEFAULT": "sync", "CONNECTIONS": {"sync": {"DRIVER": "sync"}}}

    def test_the_result_is_there_at_once(self, ran):
        dispatched = jobs.adds.dispatch(1, 2)
        assert ran == [(1, 2, 50, "half of it")]
        assert (dispatched.status, dispatched.result()) == ("done", 3)

    def test_an_error_is_raised_and_kept(self):
        with pytest.raises(ValueError, match="broken"):
            jobs.Kept("fail").dispatch()
        assert JobResult.objects.get().status == "failed"
        assert not FailedJob.objects.exists()

    def test_each_of_many_has_one(self):
        dispatch_many([jobs.adds.bind(n, 1) for n in range(3)])
        assert sorted(JobResult.objects.values_list("value", flat=True)) == ["1", "2", "3"]


def test_what_is_thrown_away_is_cancelled(settings):
    settings.DJQUEUE = {"DEFAULT": "null", "CONNECTIONS": {"null": {"DRIVER": "null"}}}
    assert jobs.adds.dispatch(1, 2).status == "cancelled"


def test_a_wrong_argument_leaves_no_row():
    with pytest.raises(NotSerializable):
        jobs.Kept(object()).dispatch()
    assert not JobResult.objects.exists()


class TestChains:
    def test_each_step_keeps_its_own_result(self):
        with context.scope(user_id=3):
            chain([jobs.adds.bind(1, 2), jobs.number.bind(1), jobs.adds.bind(3, 4)]).dispatch()
        assert set(JobResult.objects.values_list("status", "owner")) == {("waiting", "3")}
        assert work() == 3
        assert sorted(JobResult.objects.values_list("value", flat=True)) == ["3", "7"]

    def test_steps_that_will_not_run_are_cancelled(self):
        chain([jobs.adds.bind(1, 2), jobs.adds.bind(3, 4)]).dispatch().cancel()
        assert list(JobResult.objects.values_list("status", flat=True)) == ["cancelled"] * 2

    def test_so_is_the_job_for_a_failure_that_did_not_come(self):
        chain([jobs.adds.bind(1, 2)]).on_failure(jobs.adds.bind(3, 4)).dispatch()
        assert work() == 1
        assert sorted(JobResult.objects.values_list("status", flat=True)) == ["cancelled", "done"]

    def test_a_broken_chain_waits_with_its_results(self):
        chain([jobs.Kept("fail"), jobs.adds.bind(3, 4)]).dispatch()
        work(delayed=True)
        assert sorted(JobResult.objects.values_list("status", flat=True)) == ["failed", "waiting"]

    def test_what_the_queue_is_cleared_of_is_cancelled(self):
        jobs.adds.dispatch(1, 2)
        jobs.number.dispatch(1)
        assert queues["database"].clear() == 2
        assert JobResult.objects.get().status == "cancelled"

    def test_steps_run_at_once_on_sync(self, settings):
        settings.DJQUEUE = {"DEFAULT": "sync", "CONNECTIONS": {"sync": {"DRIVER": "sync"}}}
        chain([jobs.adds.bind(1, 2), jobs.adds.bind(3, 4)]).dispatch()
        assert sorted(JobResult.objects.values_list("value", flat=True)) == ["3", "7"]


class TestUnique:
    def test_a_dispatch_that_finds_a_job_is_about_the_result_of_that_one(self):
        first, second = jobs.only_one.dispatch(3), jobs.only_one.dispatch(3)
        assert (second.created, second.existing) == (False, first.id)
        assert str(JobResult.objects.get().pk) == first.id
        assert work() == 1
        assert second.result() == first.result() == 3

    def test_so_is_each_of_many(self):
        assert dispatch_many([jobs.only_one.bind(n) for n in (1, 2, 1)]) == 2
        assert JobResult.objects.count() == 2
        assert work() == 2
        assert sorted(JobResult.objects.values_list("value", flat=True)) == ["1", "2"]


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_cancelled_before_the_commit_is_not_queued(settings):
    settings.DJQUEUE = {"DEFAULT": "sync", "CONNECTIONS": {"sync": {"DRIVER": "sync"}}}
    with transaction.atomic():
        dispatched = jobs.adds.using(after_commit=True).dispatch(1, 2)
        assert dispatched.status == "unknown"
        assert dispatched.cancel()
    assert dispatched.status == "cancelled"
    assert JobResult.objects.count() == 1
