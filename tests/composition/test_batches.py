"""Batches count each member once, finish, and call for the jobs that they were given."""

import random
import string
from datetime import timedelta

import pytest
from django.db import connection as database
from django.db import transaction
from django.utils import timezone

from djqueue import batch, chain, exponential, queues
from djqueue.composition.batches import asking, counting, growing
from djqueue.drivers.redis.driver import RedisDriver
from djqueue.errors import InvalidJob, NotSerializable, QueueError, QueueUnavailable
from djqueue.models import FailedJob, JobBatch, Outbox, QueuedJob
from djqueue.operations import batches
from djqueue.operations.retrying import retry
from djqueue.payload.payload import decode
from djqueue.testing import work
from tests.composition import jobs

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ran():
    jobs.ran.clear()
    return jobs.ran


def told(**more):
    """A batch that notes all that becomes of it."""
    return {
        name: jobs.notes.bind(name) for name in ("on_success", "on_failure", "on_finish")
    } | more


def of(row):
    row.refresh_from_db()
    return (row.total_jobs, row.pending_jobs, row.failed_jobs, row.progress, row.finished)


def test_members_run_and_the_batch_finishes(ran):
    row = batch((jobs.number.bind(i) for i in range(5)), name="Five", **told()).dispatch()
    assert of(row) == (5, 5, 0, 0, False)
    assert work(max_jobs=2) == 2
    assert of(row) == (5, 3, 0, 40, False)
    assert work() == 5
    assert of(row) == (5, 0, 0, 100, True)
    assert ran[-2:] == [("on_finish", row.pk, 100), ("on_success", row.pk, 100)]
    assert not row.cancelled
    assert not row.has_failures
    assert not QueuedJob.objects.exists()


def test_an_empty_batch_finishes_at_once(ran):
    row = batch([], **told()).dispatch()
    assert of(row) == (0, 0, 0, 100, True)
    assert work() == 2
    assert [each[0] for each in ran] == ["on_finish", "on_success"]


def test_the_first_failure_cancels_the_rest(ran, monkeypatch):
    monkeypatch.setattr(asking, "KNOWN_FOR", 0.0)
    members = [jobs.number.bind(1), jobs.breaks.bind(), jobs.number.bind(2), jobs.number.bind(3)]
    row = batch(members, **told()).dispatch()
    work()
    assert of(row) == (4, 0, 1, 100, True)
    assert row.cancelled
    assert row.reason == "a member failed"
    assert [each for each in ran if each != "breaks"] == [
        (1, None),
        ("on_failure", row.pk, 100),
        ("on_finish", row.pk, 100),
    ]
    assert FailedJob.objects.get().batch_id == row.pk


def test_failures_are_allowed(ran):
    members = [jobs.breaks.bind(), jobs.number.bind(2), jobs.breaks.bind()]
    row = batch(members, allow_failures=jobs.failure.bind(), **told()).dispatch()
    work()
    assert of(row) == (3, 0, 2, 100, True)
    assert not row.cancelled
    ids = {str(uuid) for uuid in FailedJob.objects.values_list("uuid", flat=True)}
    assert {each[1] for each in ran if each[0] == "failure"} == ids
    names = [each[0] for each in ran if isinstance(each[0], str) and each[0].startswith("on_")]
    assert names == ["on_failure", "on_finish"]


def test_a_retry_that_succeeds_ends_in_success(ran):
    members = [jobs.once_broken.bind(), jobs.number.bind(2)]
    row = batch(members, allow_failures=True, **told()).dispatch()
    work()
    assert of(row) == (2, 0, 1, 100, True)
    assert row.retry_failed() == 1
    assert of(row) == (2, 1, 0, 50, False)
    work()
    assert of(row) == (2, 0, 0, 100, True)
    names = [each[0] for each in ran if isinstance(each[0], str) and each[0].startswith("on_")]
    assert names == ["on_failure", "on_finish", "on_success"]


def test_a_retried_member_of_a_cancelled_batch_runs(ran):
    row = batch([jobs.once_broken.bind(), jobs.number.bind(2)], **told()).dispatch()
    work()
    assert row.finished is False
    retry()
    work()
    assert "mended" in ran
    assert (2, None) not in ran
    assert of(row) == (2, 0, 0, 100, True)


def test_cancel_ends_what_waits_without_running_it(ran):
    row = batch([jobs.number.bind(i) for i in range(4)], **told()).dispatch()
    assert work(max_jobs=1) == 1
    assert row.cancel()
    assert not row.cancel()
    work()
    assert of(row) == (4, 0, 0, 100, True)
    assert row.cancelled
    assert ran == [(0, None), ("on_finish", row.pk, 100)]


def test_chains_are_members_and_count_once(ran):
    first = chain([jobs.number.bind(1), jobs.number.bind(2)])
    row = batch([first, jobs.number.bind(3)], **told()).dispatch()
    assert of(row) == (2, 2, 0, 0, False)
    work()
    assert of(row) == (2, 0, 0, 100, True)
    assert (2, 1) in ran
    row = batch([chain([jobs.once_broken.bind(), jobs.number.bind(4)])], allow_failures=True)
    row = row.dispatch()
    work()
    assert of(row) == (1, 0, 1, 100, True)
    retry()
    work()
    assert of(row) == (1, 0, 0, 100, True)
    assert (4, None) in ran


def test_a_member_adds_members_and_no_attempt_adds_them_twice(ran):
    row = batch([jobs.adds_members.bind(3)], **told()).dispatch()
    work()
    assert of(row) == (4, 0, 0, 100, True)
    assert sorted(each[0] for each in ran if each[1] is None) == [0, 1, 2]
    with pytest.raises(QueueError, match="finished or cancelled"):
        row.add([jobs.number.bind(1)])


def test_a_member_adds_members_in_several_calls(ran):
    row = batch([jobs.adds_twice.bind()]).dispatch()
    work()
    assert of(row) == (5, 0, 0, 100, True)
    assert sorted(each[0] for each in ran if each != 2) == [1, 2, 3, 4]
    assert 2 in ran


def test_added_members_have_the_options_of_the_batch():
    later = timezone.now() + timedelta(hours=1)
    for delay in (timedelta(hours=1), later):
        given = {"delay": delay, "tags": ["a"], "tries": 7, "backoff": exponential(3)}
        members = batch([jobs.number.bind(1)]).using(queue="own", **given)
        members.dispatch().add([jobs.number.bind(2)])
        first, second = QueuedJob.objects.order_by("id")
        assert (second.queue, second.line) == ("own", None)
        assert abs(first.available_at - second.available_at) < timedelta(minutes=5)
        read = [decode(each.payload) for each in (first, second)]
        assert [each.tags for each in read] == [("a",), ("a",)]
        assert read[0].head == read[1].head
        QueuedJob.objects.all().delete()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"name": "a\0b"}, "no database takes"),
        ({"name": "a\ud800b"}, "no database takes"),
        ({"name": None}, "is a text"),
        ({"name": 5}, "is a text"),
        ({"name": "x" * 256}, "at most 255"),
        ({"options": {"a": object()}}, "JSON"),
        ({"options": {"a": float("nan")}}, "finite numbers"),
        ({"options": ["a"]}, "mapping"),
    ],
)
def test_what_cannot_be_stored_is_refused(given, why):
    with pytest.raises(InvalidJob, match=rf"{why}(.|\n)*Nothing was queued\."):
        batch([jobs.number.bind(1)], **given)


@pytest.mark.parametrize("text", ["a\0b\ud800", "", None])
def test_the_reason_of_any_exception_is_stored(text):
    class Broken(Exception):
        def __str__(self):
            if text is None:
                raise ValueError("no text")
            return text

    def members():
        yield jobs.number.bind(1)
        raise Broken

    with pytest.raises(Broken):
        batch(members()).dispatch()
    row = JobBatch.objects.get()
    assert row.cancelled
    assert row.reason.startswith("its dispatch broke off: ")
    assert ("Broken" in row.reason) is not bool(text)
    assert row.open_until is None


def test_progress_is_told_at_the_end_and_not_for_each(ran, monkeypatch):
    monkeypatch.setattr(counting, "PROGRESS_EVERY", 3600.0)
    members = [jobs.number.bind(i) for i in range(20)]
    row = batch(members, on_progress=jobs.notes.bind("on_progress")).dispatch()
    work()
    assert [each[0] for each in ran].count("on_progress") == 2
    assert ran[-1] == ("on_progress", row.pk, 100)


def test_what_runs_several_times_takes_its_large_arguments_along(ran, settings):
    small = {"DRIVER": "database", "COMPRESS_ABOVE": 500, "STORE_ABOVE": 1_000}
    settings.DJQUEUE = {"CONNECTIONS": {"database": small}, "PAYLOADS": {"DATABASE": "default"}}
    text = "".join(random.choices(string.ascii_letters, k=5_000))
    row = batch(
        [jobs.breaks.bind(), jobs.breaks.bind()],
        allow_failures=jobs.alert.bind(text),
        on_progress=jobs.alert.bind(text),
    )
    row.dispatch()
    work()
    assert ran.count(text) == 4
    assert FailedJob.objects.count() == 2


def test_it_is_refused_where_its_store_does_not_take_them(settings):
    small = {"DRIVER": "beanstalkd", "MAX_JOB_SIZE": 10_000}
    settings.DJQUEUE = {"CONNECTIONS": {"database": {"DRIVER": "database"}, "small": small}}
    large = jobs.alert.using(connection="small").bind(
        "".join(random.choices(string.ascii_letters, k=20_000))
    )
    for name in ("on_progress", "allow_failures"):
        with pytest.raises(NotSerializable, match=r'"text", has(.|\n)*Nothing was queued\.'):
            batch([jobs.number.bind(1)], **{name: large}).dispatch()
    assert not JobBatch.objects.exists()


def test_options_are_read_by_members(ran):
    row = batch([jobs.reads.bind()], options={"week": 34}).dispatch()
    work()
    assert ran == [34]
    assert row.options == {"week": 34}


def test_an_exception_of_the_iterable_cancels_the_batch(ran, monkeypatch):
    monkeypatch.setattr(growing, "SLICE", 5)

    def members():
        yield from (jobs.number.bind(i) for i in range(5))
        raise ZeroDivisionError("no more")

    with pytest.raises(ZeroDivisionError):
        batch(members(), **told()).dispatch()
    row = JobBatch.objects.get()
    assert row.cancelled
    assert "no more" in row.reason
    work()
    assert of(row) == (5, 0, 0, 100, True)


def test_a_batch_whose_dispatcher_is_gone_is_closed(ran):
    row = batch([jobs.number.bind(1)], **told()).dispatch()
    JobBatch.objects.update(open_until=row.created_at)
    work()
    assert of(row) == (1, 0, 0, 100, False)
    assert batches.close_forgotten() == 1
    assert batches.close_forgotten() == 0
    assert of(row) == (1, 0, 0, 100, True)
    assert row.reason == "its dispatcher is gone"


def test_a_deleted_member_is_settled():
    row = batch([jobs.number.bind(i) for i in range(3)]).dispatch()
    first = str(QueuedJob.objects.order_by("id")[0].uuid)
    assert queues["database"].remove(None, [first]) == 1
    assert of(row) == (3, 2, 0, 33, False)
    assert queues["database"].clear() == 2
    assert of(row) == (3, 0, 0, 100, True)


@pytest.mark.django_db(transaction=True)
def test_nothing_runs_before_the_commit(ran, redis_connection):
    for name in ("database", redis_connection):
        with transaction.atomic():
            row = batch([jobs.number.bind(i) for i in range(3)]).using(connection=name).dispatch()
            assert row.total_jobs == 3
            if name == redis_connection:
                assert work(redis_connection) == 0
        assert work(name) == 3
        assert of(row) == (3, 0, 0, 100, True)


@pytest.mark.django_db(transaction=True)
def test_a_rollback_leaves_nothing(redis_connection):
    def fail(name):
        with transaction.atomic():
            batch([jobs.number.bind(1)], **told()).using(connection=name).dispatch()
            raise ZeroDivisionError

    for name in ("database", redis_connection):
        with pytest.raises(ZeroDivisionError):
            fail(name)
    assert not JobBatch.objects.exists()
    assert not Outbox.objects.exists()
    assert not QueuedJob.objects.exists()


def test_members_use_the_options_of_the_batch():
    row = batch([jobs.number.bind(1), jobs.number.using(queue="own").bind(2)], **told())
    row.using(queue="all", delay=60).dispatch()
    found = QueuedJob.objects.order_by("id").values_list("queue", "line")
    assert list(found) == [("all", None), ("own", None)]
    assert set(Outbox.objects.values_list("queue", flat=True)) == {"all"}


class TestSync:
    @pytest.fixture(autouse=True)
    def sync(self, settings):
        settings.DJQUEUE = {"DEFAULT": "sync", "CONNECTIONS": {"sync": {"DRIVER": "sync"}}}

    def test_members_run_at_once(self, ran):
        row = batch([jobs.number.bind(1), jobs.number.bind(2)], **told()).dispatch()
        assert of(row) == (2, 0, 0, 100, True)
        assert [each[0] for each in ran] == [1, 2, "on_finish", "on_success"]

    def test_the_first_error_is_raised_and_the_rest_cancelled(self, ran):
        with pytest.raises(ValueError, match="broken"):
            batch([jobs.breaks.bind(), jobs.number.bind(2)], **told()).dispatch()
        row = JobBatch.objects.get()
        assert of(row) == (2, 0, 1, 100, True)
        assert [each[0] for each in ran if each != "breaks"] == ["on_failure", "on_finish"]


def test_null_settles_all_members(ran, settings):
    settings.DJQUEUE = {"DEFAULT": "null", "CONNECTIONS": {"null": {"DRIVER": "null"}}}
    row = batch([jobs.number.bind(1), jobs.number.bind(2)]).dispatch()
    assert of(row) == (2, 0, 0, 100, True)
    assert row.cancelled


def test_a_large_batch_takes_few_statements(django_assert_max_num_queries):
    with django_assert_max_num_queries(120):
        batch(jobs.number.bind(i) for i in range(3_000)).dispatch()
    assert database.vendor


def test_finished_batches_are_pruned_with_what_they_did_not_call_for(ran):
    row = batch([jobs.number.bind(1)], **told()).dispatch()
    other = batch([jobs.number.bind(1)], **told()).dispatch()
    work(max_jobs=1)
    row.refresh_from_db()
    assert row.finished
    assert Outbox.objects.filter(chain=row.pk).count() == 1
    assert batches.prune(row.finished_at - timedelta(seconds=1)) == 0
    assert batches.prune(timezone.now() + timedelta(seconds=1)) == 1
    assert not Outbox.objects.filter(chain=row.pk).exists()
    assert JobBatch.objects.get() == other


def test_a_batch_whose_members_are_retried_is_not_pruned(ran):
    row = batch([jobs.once_broken.bind()], allow_failures=True, **told()).dispatch()
    work()
    assert row.retry_failed() == 1
    later = timezone.now() + timedelta(days=8)
    assert batches.prune(later) == 0
    work()
    assert ran[-1] == ("on_success", row.pk, 100)
    assert batches.prune(later) == 1


@pytest.mark.django_db(transaction=True)
def test_a_member_that_its_store_refuses_has_failed(ran, redis_connection, monkeypatch):
    def refuse(self, jobs):
        raise QueueUnavailable("full", refused={job.id: "too large" for job in jobs})

    monkeypatch.setattr(RedisDriver, "push", refuse)
    first = chain([jobs.number.bind(1), jobs.number.bind(2)]).on_failure(jobs.alert.bind("x"))
    row = batch([first, jobs.number.bind(3)], allow_failures=True, **told())
    row = row.using(connection=redis_connection).dispatch()
    assert of(row) == (2, 0, 2, 100, True)
    assert FailedJob.objects.filter(batch_id=row.pk).count() == 2
    assert Outbox.objects.filter(position=2, broken=True).count() == 1
    monkeypatch.undo()
    assert row.retry_failed() == 2
    Outbox.objects.filter(due_at__isnull=False).update(due_at=row.created_at)
    work(redis_connection)
    assert of(row) == (2, 0, 0, 100, True)
    assert (2, 1) in ran
