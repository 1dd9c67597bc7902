"""Unique jobs on the stores beside the database."""

from contextlib import nullcontext
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from djqueue import chain, dispatch_many, queues
from djqueue.dispatch.unique.held import held
from djqueue.models import FailedJob, JobResult
from djqueue.operations.retrying import retry
from djqueue.testing import work
from tests import databases
from tests.composition import unique_jobs
from tests.composition.unique_jobs import Import, fails, for_a_while, sync, twice, until_start
from tests.support import wait_until
from tests.worker.stores import settings_of

pytestmark = pytest.mark.django_db(transaction=True)
OWN_KEYS = ("redis", "cluster")


@pytest.fixture(autouse=True, params=[*OWN_KEYS, "beanstalkd", "sqs"])
def store(request, settings):
    if request.param in OWN_KEYS and databases.vendor() != "sqlite":
        pytest.skip("it keeps its keys itself: once is enough")
    unique_jobs.ran.clear()
    unique_jobs.seen.clear()
    settings.DJQUEUE = settings_of(request.param, request)
    yield request.param
    queues["store"].clear()
    queues["store"].close()


def raises(error):
    """A function that raises `error`."""

    def function(*args, **kwargs):
        raise error

    return function


def run(count=1):
    """Run so many jobs: a store may take a moment to hand them out."""
    ran = 0

    def has_run():
        nonlocal ran
        ran += work(max_jobs=count - ran)
        return ran == count

    wait_until(has_run)


def test_a_second_dispatch_queues_nothing_and_names_the_first():
    first, second = sync.dispatch(1), sync.dispatch(1)
    assert (first.created, first.existing) == (True, None)
    assert (second.created, second.existing) == (False, first.id)
    assert sync.dispatch(2).created
    run(2)
    assert sync.dispatch(1).created
    assert sorted(unique_jobs.ran) == [1, 2]


def test_the_key_is_kept_between_two_attempts():
    twice.dispatch()
    run()
    assert not twice.dispatch().created
    run()
    assert unique_jobs.seen == [False]
    assert twice.dispatch().created


def test_many():
    jobs = [Import("a"), sync.bind(1), Import("a", page=2), sync.bind(2), Import("b")]
    assert dispatch_many(jobs) == 4
    assert dispatch_many(jobs) == 0
    run(4)
    assert dispatch_many(jobs * 100) == 4


def test_a_cancelled_job_frees_its_key():
    first = sync.dispatch(1)
    assert sync.dispatch(1).cancel()  # which is about the first
    assert sync.dispatch(1).created
    assert first.status in ("unknown", "waiting")


def test_a_cleared_queue_frees_its_keys():
    sync.dispatch(1)
    queues["store"].clear()
    assert sync.dispatch(1).created


def test_the_time_after_which_it_is_taken_over():
    first = for_a_while.using(delay=100).dispatch()
    assert for_a_while.dispatch().existing == first.id
    short = unique_jobs.for_a_moment.dispatch()
    assert unique_jobs.for_a_moment.dispatch().existing == short.id
    wait_until(lambda: unique_jobs.for_a_moment.dispatch().created)


def test_the_key_is_free_when_it_begins():
    until_start.dispatch()
    assert not until_start.dispatch().created
    run()
    assert unique_jobs.seen == [True]


def test_in_a_transaction_it_is_known_after_the_commit():
    with transaction.atomic():
        first, second = sync.dispatch(1), sync.dispatch(1)
        assert (first.created, second.created, second.existing) == (None, None, None)
    assert first.created
    assert (second.created, second.existing) == (False, first.id)


def test_a_rollback_frees_the_key():
    with transaction.atomic():
        sync.dispatch(1)
        transaction.set_rollback(True)
    assert sync.dispatch(1).created


def test_a_job_that_is_cancelled_before_the_commit_frees_its_key():
    with transaction.atomic():
        first = sync.dispatch(1)
        assert first.cancel()
        second = sync.dispatch(1)
    assert second.created
    assert not sync.dispatch(1).created


@pytest.mark.parametrize("store", ["beanstalkd", "sqs"], indirect=True)
def test_a_job_that_its_store_refuses_frees_its_key(monkeypatch):
    driver = queues["store"].driver
    monkeypatch.setattr(driver, "push", raises(ValueError("not this one")))
    sync.dispatch(1)
    assert FailedJob.objects.count() == 1
    monkeypatch.undo()
    assert sync.dispatch(1).created


def test_a_failed_job_takes_its_key_again_or_is_refused():
    fails.dispatch()
    run()
    retry()
    assert not fails.dispatch().created
    run()
    other = fails.dispatch()
    done = retry()
    assert done.moved == 0
    assert list(done.refused) == [f"job {other.id} has its unique key."]
    assert FailedJob.objects.count() == 1


def test_steps_of_chains_are_exempt():
    chain([sync.bind(1), sync.bind(1)]).dispatch()
    assert sync.dispatch(1).created
    run(3)
    assert unique_jobs.ran == [1, 1, 1]


def test_what_goes_through_the_outbox_is_as_unique(settings, store):
    settings.DJQUEUE["CONNECTIONS"]["store"]["OUTBOX"] = True
    settings.DJQUEUE = {**settings.DJQUEUE}
    with transaction.atomic():
        first, second = sync.dispatch(1), sync.dispatch(1)
    assert first.created
    assert (second.created, second.existing) == (False, first.id)
    assert sync.dispatch(1).existing == first.id
    run()
    assert not FailedJob.objects.exists()
    with transaction.atomic():
        assert dispatch_many([sync.bind(1), sync.bind(1)]) == 2  # not known yet
    assert sync.dispatch(1).created is False


def test_an_operator_sees_who_has_a_key_and_frees_it(caplog):
    first = sync.dispatch(1)
    (key,) = [each.key for each in held() if each.job == first.id]
    listed = StringIO()
    call_command("queue_unlock", stdout=listed)
    assert f"{key}\t{first.id}\tstore\t" in listed.getvalue()
    told = StringIO()
    with caplog.at_level("INFO", "djqueue.audit"):
        call_command("queue_unlock", key, stdout=told)
    assert f'Freed "{key}", which job {first.id} had on store:' in told.getvalue()
    assert f"unlock: 1 changed, 0 left; by unique_key={key}; {first.id}" in caplog.text
    assert not list(held())
    assert sync.dispatch(1).created
    with pytest.raises(CommandError, match="No job has the unique key"):
        call_command("queue_unlock", "nothing")


@pytest.mark.parametrize("open_transaction", [False, True])
def test_a_result_is_kept_of_the_job_that_has_the_key_alone(open_transaction):
    with transaction.atomic() if open_transaction else nullcontext():
        first, second = unique_jobs.kept.dispatch(3), unique_jobs.kept.dispatch(3)
    assert second.existing == first.id
    assert [str(row.pk) for row in JobResult.objects.exclude(status="cancelled")] == [first.id]
    run()
    assert first.result() == second.result() == 3
    assert unique_jobs.kept.dispatch(3).created
