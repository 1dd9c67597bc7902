"""Unique jobs: one with the same key at a time, from the dispatch to the end, whatever that is."""

from datetime import timedelta
from io import StringIO

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.db import transaction

from djqueue import batch, chain, dispatch_many, queues
from djqueue.databases.now import UtcNow
from djqueue.errors import InvalidJob, Unsupported
from djqueue.models import FailedJob, JobResult, Key, QueuedJob
from djqueue.operations.describe import show
from djqueue.operations.failed_jobs import forget
from djqueue.operations.pruning import prune
from djqueue.operations.retrying import retry
from djqueue.testing import work
from tests.composition import unique_jobs
from tests.composition.unique_jobs import Import, fails, for_a_while, sync, twice, until_start

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_jobs")]


@pytest.fixture(autouse=True)
def ran():
    unique_jobs.ran.clear()
    unique_jobs.seen.clear()
    return unique_jobs.ran


def test_a_second_dispatch_queues_nothing_and_names_the_first():
    first, second = sync.dispatch(1), sync.dispatch(1)
    assert (first.created, first.existing) == (True, None)
    assert (second.created, second.existing) == (False, first.id)
    assert second.id != first.id
    assert second.status == "waiting"
    assert QueuedJob.objects.count() == 1


def test_other_arguments_are_another_job():
    assert sync.dispatch(1).created
    assert sync.dispatch(2).created
    assert not sync.dispatch(number=1, deep=False).created


def test_its_own_id_decides_where_there_is_one():
    assert Import("a").dispatch().created
    assert not Import("a", page=2).dispatch().created
    assert Import("b").dispatch().created


def test_a_coroutine_learns_the_same():
    first = sync.dispatch(1)
    assert async_to_sync(sync.adispatch)(1).existing == first.id


def test_the_key_is_free_after_the_end(ran):
    sync.dispatch(1)
    assert work() == 1
    assert sync.dispatch(1).created
    assert work() == 1
    assert ran == [1, 1]


def test_the_key_is_kept_between_two_attempts():
    twice.dispatch()
    assert work(max_jobs=1) == 1
    assert not twice.dispatch().created
    assert work() == 1
    assert unique_jobs.seen == [False]
    assert twice.dispatch().created


@pytest.mark.parametrize("end", ["remove", "clear", "cancel"])
def test_every_removal_frees_the_key(end):
    first = sync.dispatch(1)
    if end == "remove":
        queues[None].remove(None, [first.id])
    elif end == "clear":
        queues[None].clear()
    else:
        sync.dispatch(1).cancel()  # which is about the first
    assert sync.dispatch(1).created


def test_a_rollback_frees_the_key():
    with transaction.atomic():
        assert sync.dispatch(1).created
        transaction.set_rollback(True)
    assert sync.dispatch(1).created


class TestMany:
    def test_it_counts_what_is_queued(self):
        sync.dispatch(1)
        assert dispatch_many(sync.bind(number % 3) for number in range(10)) == 2
        assert QueuedJob.objects.count() == 3

    def test_plain_and_unique_jobs_mix(self):
        jobs = [sync.bind(1), Import("a"), sync.bind(1), Import("b", page=3), Import("b")]
        assert dispatch_many(jobs) == 3

    def test_they_are_all_there_with_a_delay_too(self):
        jobs = [sync.using(delay=n % 2).bind(n) for n in range(300)]
        assert dispatch_many(jobs) == 300
        assert dispatch_many(jobs) == 0


class TestTime:
    def test_after_it_the_next_dispatch_takes_the_key_over(self):
        first = for_a_while.dispatch()
        assert not for_a_while.dispatch().created
        Key.objects.update(until=UtcNow() - timedelta(seconds=1))
        second = for_a_while.dispatch()
        assert second.created
        assert for_a_while.dispatch().existing == second.id
        assert QueuedJob.objects.filter(uuid=first.id).exists()
        assert work(max_jobs=1) == 1  # the first, whose end frees nothing
        assert not for_a_while.dispatch().created


class TestUntilStart:
    def test_the_key_is_free_when_it_begins(self):
        until_start.dispatch()
        assert not until_start.dispatch().created
        assert work(max_jobs=1) == 1
        assert unique_jobs.seen == [True]

    def test_coroutines_too(self):
        unique_jobs.until_start_async.dispatch()
        assert work(max_jobs=1) == 1
        assert unique_jobs.seen == [True]

    def test_middleware_that_holds_it_back_keeps_the_key(self, settings):
        settings.DJQUEUE = {"MIDDLEWARE": ["tests.composition.unique_jobs.hold_back"]}
        until_start.dispatch(again=False)
        assert work(max_jobs=1) == 1
        assert not until_start.dispatch(again=False).created


def test_rows_of_free_keys_are_pruned():
    sync.dispatch(1)
    work()
    sync.dispatch(2)
    Key.objects.update(taken_at=UtcNow() - timedelta(hours=1))
    sync.dispatch(3)
    assert prune()
    assert Key.objects.count() == 2
    assert not sync.dispatch(2).created


class TestRetry:
    def test_a_failed_job_takes_its_key_again(self):
        fails.dispatch()
        work()
        retry()
        assert not fails.dispatch().created

    def test_it_is_refused_while_another_has_the_key(self):
        fails.dispatch()
        fails.dispatch(1)
        work()
        other = fails.dispatch()
        done = retry()
        assert done.moved == 1
        assert list(done.refused) == [f"job {other.id} has its unique key."]
        assert FailedJob.objects.count() == 1
        forget()


class TestOptions:
    def refusal(self, has_id=False, **options):
        from djqueue import Job

        with pytest.raises(InvalidJob) as caught:
            type(
                "X",
                (Job,),
                {"handle": lambda self: None} | ({"unique_id": lambda self: 1} if has_id else {}),
                name="unique.X",
                **options,
            )
        return str(caught.value)

    def test_what_only_unique_jobs_have(self):
        assert "Add unique=True, or drop unique_for." in self.refusal(unique_for=3)
        assert "drop unique_until_start." in self.refusal(unique_until_start=True)
        assert "drop unique_id()." in self.refusal(has_id=True)

    def test_atomic_frees_nothing_before_its_end(self):
        text = self.refusal(unique=True, unique_until_start=True, atomic=True)
        assert "cannot be combined" in text

    def test_no_time_at_all(self):
        assert "above 0" in self.refusal(unique=True, unique_for=0)


def test_what_unique_id_may_return():
    class Named(Import, name="unique.Named"):
        def unique_id(self):
            return self.page or None

    with pytest.raises(InvalidJob, match="not a text, a whole number or a UUID"):
        Named("a").dispatch()
    assert Named("a", page=1).dispatch().created


@pytest.mark.parametrize("shop", ["é", "x" * 500, "a\nb", "ends with ", "\ud800"])
def test_every_id_makes_a_key_that_every_store_can_keep(shop):
    key = Import._spec.unique_key(Import(shop))
    assert len(key) <= 200
    assert key.isascii()
    assert key.isprintable()
    assert key != Import._spec.unique_key(Import(shop + "x"))


def test_upper_and_lower_case_differ():
    assert Import("a").dispatch().created
    assert Import("A").dispatch().created


def test_steps_of_chains_are_exempt(ran):
    chain([sync.bind(1), sync.bind(1)]).dispatch()
    assert sync.dispatch(1).created
    assert work() == 3
    assert ran == [1, 1, 1]


def test_members_of_batches_are_exempt(ran):
    batch([sync.bind(1), sync.bind(1)]).dispatch()
    assert sync.dispatch(1).created
    assert work() == 3
    assert ran == [1, 1, 1]


class TestHere:
    @pytest.fixture(autouse=True)
    def sync(self, settings):
        connections = {"sync": {"DRIVER": "sync"}, "null": {"DRIVER": "null"}}
        several = {"DRIVER": "failover", "CONNECTIONS": ["database", "sync"]}
        connections |= {"database": {"DRIVER": "database"}, "several": several}
        settings.DJQUEUE = {"DEFAULT": "sync", "CONNECTIONS": connections}

    def test_the_key_is_held_while_it_runs(self):
        first = unique_jobs.again.dispatch(2)
        assert first.created
        assert unique_jobs.seen == [(False, first.id)]
        assert unique_jobs.again.dispatch(1).created

    def test_what_keeps_no_jobs_has_no_keys(self):
        assert sync.using(connection="null").dispatch(1).created
        assert sync.using(connection="null").dispatch(1).created

    def test_several_stores_can_have_no_key_in_common(self):
        with pytest.raises(Unsupported, match="Dispatch it to one of them: database"):
            sync.using(connection="several").dispatch(1)


def test_queue_show_says_whether_a_job_has_its_key():
    first = for_a_while.dispatch()
    shown = show(first.id)
    assert shown["unique_key"].startswith("unique.for_a_while:")
    assert shown["has_unique_key"] == "yes"
    call_command("queue_unlock", shown["unique_key"], stdout=StringIO())
    assert show(first.id)["has_unique_key"] == "no"


def test_a_result_is_kept_of_the_job_that_has_the_key_alone():
    first, second = unique_jobs.kept.dispatch(3), unique_jobs.kept.dispatch(3)
    assert [str(row.pk) for row in JobResult.objects.all()] == [first.id]
    work()
    assert first.result() == second.result() == 3
