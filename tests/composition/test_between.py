"""What happens between two steps of an end, a removal or a retry is counted once."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from djqueue import batch, chain, find, queues
from djqueue.composition.batches import asking
from djqueue.dispatch.outbox.outbox import Written
from djqueue.models import FailedJob, JobBatch, JobResult, Outbox, QueuedJob
from djqueue.operations.retrying import retry
from djqueue.payload.links import NO_LINKS, links_of, read_links
from djqueue.testing import work
from tests.composition import jobs

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def ran():
    jobs.ran.clear()
    return jobs.ran


def of(row):
    row.refresh_from_db()
    return (row.total_jobs, row.pending_jobs, row.failed_jobs, row.finished)


def test_a_member_that_is_removed_while_its_end_is_stored_counts_once(
    redis_connection, monkeypatch
):
    row = batch([jobs.number.bind(1), jobs.number.bind(2)]).using(connection="redis").dispatch()
    settle = queues["redis"].driver.session().__class__.settle
    died = []

    def die(self, settlements):
        if not died:
            died.append(settlements[0].reservation.id)
            return set()  # it died before its store knew
        return settle(self, settlements)

    monkeypatch.setattr(queues["redis"].driver.session().__class__, "settle", die)
    assert work("redis", max_jobs=1) == 1
    monkeypatch.undo()
    assert of(row) == (2, 1, 0, False)
    assert find(died[0], "redis").cancel()
    assert of(row) == (2, 1, 0, False)
    work("redis")
    assert of(row) == (2, 0, 0, True)


def test_a_member_is_cancelled_on_its_way_to_its_store(redis_connection, monkeypatch):
    monkeypatch.setattr(Written, "move", lambda *_: Moved)
    row = batch([jobs.number.bind(1), chain([jobs.number.bind(2), jobs.number.bind(3)])])
    row = row.using(connection="redis").dispatch()
    monkeypatch.undo()
    Outbox.objects.update(taken_until=None, taken_by="")
    for each in Outbox.objects.filter(chain=None):
        assert find(str(each.uuid)).cancel()
    assert not Outbox.objects.exists()
    assert of(row) == (2, 0, 0, True)


class Moved:
    error = None


def test_a_retry_whose_key_another_job_has_leaves_the_failed_job(redis_connection):
    only = jobs.once_only.using(connection="redis")
    only.dispatch(1)
    work("redis")
    (failed,) = FailedJob.objects.all()
    other = only.dispatch(1)
    assert other.created
    done = retry()
    assert (done.moved, sum(done.refused.values())) == (0, 1)
    assert FailedJob.objects.get().pk == failed.pk
    assert JobResult.objects.get(pk=failed.uuid).status == "failed"
    assert other.cancel()
    assert retry().moved == 1
    assert JobResult.objects.get(pk=failed.uuid).status == "waiting"


def test_a_retried_chain_in_a_cancelled_batch_goes_on_to_its_end(ran, monkeypatch):
    monkeypatch.setattr(asking, "KNOWN_FOR", 0.0)
    row = batch([chain([jobs.once_broken.bind(), jobs.number.bind(2)])]).dispatch()
    work()
    assert of(row) == (1, 0, 1, True)
    assert row.cancelled
    retry()
    work()
    assert (2, None) in ran
    assert of(row) == (1, 0, 0, True)


def test_the_result_of_a_member_of_a_cancelled_batch_is_cancelled(ran):
    row = batch([jobs.adds.bind(1, 2)]).dispatch()
    row.cancel()
    work()
    assert JobResult.objects.get().status == "cancelled"
    assert ran == []


def test_a_job_that_a_batch_may_call_for_is_removed_alone():
    called = {name: jobs.notes.bind(name) for name in ("on_success", "on_failure", "on_finish")}
    batch([jobs.number.bind(1)], **called).dispatch()
    chain([jobs.number.bind(1), jobs.number.bind(2)]).on_failure(jobs.alert.bind("x")).dispatch()
    assert find(str(Outbox.objects.get(name="composition.alert").uuid)).cancel()
    assert find(str(Outbox.objects.filter(name="composition.notes")[0].uuid)).cancel()
    names = sorted(Outbox.objects.values_list("name", flat=True))
    assert names == ["composition.notes"] * 2 + ["composition.number"]


def test_a_result_that_was_pruned_is_written_again_by_a_retry(ran):
    jobs.Kept("fail once").dispatch()
    job = QueuedJob.objects.get()
    QueuedJob.objects.update(payload=job.payload.replace('"tries":2', '"tries":1'))
    work()
    JobResult.objects.all().delete()
    assert retry().moved == FailedJob.objects.count() + 1
    assert JobResult.objects.get().status == "waiting"


@pytest.mark.parametrize("bad", ["x" * 40, "\0", "\ud800", "'", 5, None, [], "A" * 36])
def test_links_that_nobody_wrote_are_left_out(bad):
    names = ("chain", "push", "batch", "follows")
    assert read_links(dict.fromkeys(names, bad)) == NO_LINKS
    assert read_links({"unique": bad}).unique in ("", bad)


def test_a_failing_job_with_bad_links_fails_once():
    jobs.breaks.dispatch()
    job = QueuedJob.objects.get()
    links = json.dumps({"batch": "b" * 60, "chain": "\ud800"})
    sent = job.payload.index(',"arguments"')
    QueuedJob.objects.update(payload=f'{job.payload[:sent]},"links":{links}{job.payload[sent:]}')
    assert work() == 1
    assert FailedJob.objects.get().batch_id is None
    assert links_of(FailedJob.objects.get().payload) == NO_LINKS


def test_no_count_falls_below_zero():
    row = batch([jobs.number.bind(1), jobs.number.bind(2)]).dispatch()
    JobBatch.objects.update(pending_jobs=0)
    work()
    assert of(row)[1] == 0
    assert not QueuedJob.objects.exists()
    assert timezone.now() - row.created_at < timedelta(minutes=5)
