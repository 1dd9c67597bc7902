"""What becomes of results later: pruning, queue_show, and those of a fake."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from djqueue import chain
from djqueue.errors import JobFailed, ResultNotStored
from djqueue.models import JobResult
from djqueue.operations.pruning import prune
from djqueue.testing import fake_queue, work
from tests.composition import jobs

pytestmark = pytest.mark.django_db

LONG_AGO = timezone.now() - timedelta(days=20)


@pytest.fixture(autouse=True)
def ran():
    jobs.ran.clear()


class TestPruning:
    def test_a_result_goes_when_it_was_kept_for_long_enough(self, settings):
        settings.DJQUEUE = {"RESULTS": {"KEEP_FOR": 3600}}
        jobs.adds.dispatch(1, 2)
        jobs.Kept("fail").dispatch()
        work()
        assert prune()
        assert JobResult.objects.count() == 2
        row = JobResult.objects.get(status="done")
        assert row.keep_until - row.finished_at == timedelta(seconds=3600)
        JobResult.objects.filter(pk=row.pk).update(keep_until=LONG_AGO)
        assert prune()
        assert JobResult.objects.count() == 1

    def test_a_row_without_an_end_stays_while_there_is_such_a_job(self):
        waiting, gone = jobs.adds.dispatch(1, 2), jobs.adds.dispatch(1, 2)
        gone.cancel()
        JobResult.objects.filter(pk=gone.id).update(status="waiting", finished_at=None)
        JobResult.objects.update(keep_until=LONG_AGO)
        assert prune()
        assert str(JobResult.objects.get().pk) == waiting.id
        assert JobResult.objects.get().keep_until > timezone.now()

    def test_so_does_that_of_a_step_that_waits_and_of_a_failed_job(self):
        chain([jobs.Kept("fail"), jobs.adds.bind(1, 2)]).dispatch()
        work()
        JobResult.objects.update(keep_until=LONG_AGO, finished_at=None)
        assert prune()
        assert JobResult.objects.count() == 2

    def test_a_long_delay_is_time_that_a_row_is_kept(self):
        jobs.adds.using(delay=timedelta(days=30)).dispatch(1, 2)
        assert JobResult.objects.get().keep_until > timezone.now() + timedelta(days=44)


class TestQueueShow:
    def shown(self, id):
        out = StringIO()
        call_command("queue_show", id, json=True, stdout=out)
        return json.loads(out.getvalue())

    def test_it_shows_progress_and_result_of_a_job_that_is_gone(self):
        dispatched = jobs.adds.dispatch(1, 2)
        assert self.shown(dispatched.id)["state"] == "waiting"
        work()
        found = self.shown(dispatched.id)
        assert (found["state"], found["result"]) == ("done", 3)
        assert found["progress"] == "1 of 2 (50 %): half of it"
        assert self.shown(dispatched.id[-8:]) == found

    def test_it_shows_the_progress_of_a_failed_job(self):
        dispatched = jobs.Kept("give up").dispatch()
        work()
        found = self.shown(dispatched.id)
        assert (found["state"], found["progress"]) == ("failed", "1 of 10 (10 %)")


class TestFake:
    def test_it_gives_the_result_that_it_was_told(self):
        with fake_queue() as queue:
            queue.result(jobs.adds, 41)
            queue.result(jobs.Kept, JobFailed("no"))
            dispatched = jobs.adds.dispatch(1, 2)
            assert (dispatched.status, dispatched.result(timeout=1)) == ("done", 41)
            with pytest.raises(JobFailed, match="no"):
                jobs.Kept("fail").dispatch().result()
            with pytest.raises(ResultNotStored, match=r"fake\.result\(akept, value\)"):
                jobs.akept.dispatch(1).result()

    def test_it_stores_nothing(self, django_assert_num_queries):
        with fake_queue() as queue, django_assert_num_queries(0):
            jobs.Kept("nothing").dispatch()
            chain([jobs.Kept("nothing"), jobs.Kept("delete")]).dispatch()
            assert queue.run() == 3
