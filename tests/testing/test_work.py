"""`work` runs what waits, and leaves the test's transaction as it is."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase

from djqueue import dispatch_many, queues
from djqueue.drivers.base import OutgoingJob
from djqueue.models import FailedJob, QueuedJob
from djqueue.payload.payload import Limits, encode, encode_head
from djqueue.testing import work
from tests.app.models import Note
from tests.testing import jobs
from tests.testing.jobs import Fail, Write, greet


class InATestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        Note.objects.create(text="of the class")

    def texts(self):
        return sorted(Note.objects.exclude(text="of the class").values_list("text", flat=True))

    def test_it_runs_every_queue_and_what_jobs_dispatch(self):
        greet.dispatch("you")
        jobs.pass_on.dispatch("passed on")
        assert work() == 3
        assert jobs.ran == ["pass_on", "you", "passed on"]
        assert self.texts() == ["passed on"]
        assert not QueuedJob.objects.exists()
        assert work() == 0

    def test_it_keeps_to_the_queues_that_are_named(self):
        for queue in ("low", "high", "other"):
            greet.using(queue=queue).dispatch(queue)
        assert work(queue="high, low") == 2
        assert jobs.ran == ["high", "low"]
        assert work(queue="other") == 1

    def test_it_stops_after_so_many(self):
        dispatch_many(greet.bind(str(number)) for number in range(5))
        assert work(max_jobs=2) == 2
        assert work(max_jobs=0) == 0
        assert work() == 3

    def test_delayed_jobs_wait_unless_they_are_asked_for(self):
        greet.using(delay=3600).dispatch("later")
        assert work() == 0
        assert work(delayed=True) == 1
        assert jobs.ran == ["later"]

    def test_a_retry_waits_for_its_time(self):
        jobs.flaky.dispatch()
        assert [work(), work()] == [1, 0]
        assert work(delayed=True) == 2
        assert jobs.ran == [1, 2, 3]
        assert not FailedJob.objects.exists()

    def test_a_failed_job_is_on_record_and_was_told(self):
        Fail().dispatch()
        assert work() == 1
        failed = FailedJob.objects.get()
        assert failed.exception_message == "no"
        assert jobs.ran == ["failed: no"]
        assert self.texts() == ["before"], "what it wrote before stays, as on a worker"

    def test_errors_are_raised_once_they_are_stored(self):
        dispatch_many([Fail(), Fail("second")])
        with pytest.raises(ValueError, match="no"):
            work(raise_errors=True)
        assert FailedJob.objects.count() == 1
        assert QueuedJob.objects.count() == 1

    def test_a_retried_error_is_raised_too(self):
        jobs.flaky.dispatch()
        with pytest.raises(ConnectionError):
            work(raise_errors=True)
        assert QueuedJob.objects.get().attempts == 1

    def test_a_job_that_breaks_the_transaction_breaks_it_for_itself_alone(self):
        jobs.collide.dispatch()
        Write("after").dispatch()
        assert work() == 2
        assert FailedJob.objects.get().exception_class.endswith("IntegrityError")
        assert "after" in self.texts()

    def test_atomic_jobs_are_all_or_nothing(self):
        jobs.enter_in_ledger.dispatch("well")
        jobs.enter_in_ledger.dispatch("ill", well=False)
        assert work() == 2
        assert self.texts() == ["well"]
        assert FailedJob.objects.count() == 1

    def test_callbacks_after_the_commit_run_where_the_test_asks_for_it(self):
        jobs.after_commit.dispatch()
        with self.captureOnCommitCallbacks(execute=True):
            assert work() == 1
            assert jobs.ran == []
        assert jobs.ran == ["committed"]

    def test_coroutines_use_the_same_connection(self):
        jobs.asynchronous.dispatch()
        assert work() == 1
        assert self.texts() == ["asynchronous"]

    def test_an_unknown_job_fails_at_once(self):
        queues[None].driver.push([_outgoing("gone.Job")])
        assert work() == 1
        assert "gone.Job" in FailedJob.objects.get().exception_message

    def test_a_paused_queue_rests(self):
        greet.dispatch("you")
        queues[None].pause("mail")
        assert work() == 0
        queues[None].resume("mail")
        assert work() == 1

    def test_connections_that_keep_nothing_have_nothing_to_do(self):
        assert work("sync") == work("null") == 0

    def test_the_class_s_own_data_is_still_there(self):
        Fail().dispatch()
        work()
        assert Note.objects.filter(text="of the class").exists()
        assert connection.in_atomic_block


class InATransactionTestCase(TransactionTestCase):
    def test_it_works_without_a_transaction(self):
        Write("a").dispatch()
        Fail().dispatch()
        opened = connection.connection
        assert work() == 2
        assert connection.connection is opened, "the connection was not closed"
        assert sorted(Note.objects.values_list("text", flat=True)) == ["a", "before"]

    def test_it_works_in_a_transaction_of_the_test_s_own(self):
        with transaction.atomic():
            Write("a").dispatch()
            assert work() == 1
            transaction.set_rollback(True)
        assert not Note.objects.exists()


@pytest.mark.django_db
def test_it_works_with_pytest_s_own_transaction():
    Write("a", copies=2).dispatch()
    assert work() == 1
    assert Note.objects.count() == 2


def _outgoing(name):
    id = str(uuid.uuid4())
    return OutgoingJob(id, "default", name, encode(encode_head(name, Limits()), id, 1.0, {}))
