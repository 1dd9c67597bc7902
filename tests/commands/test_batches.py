"""What operators do to batches."""

import json

import pytest

from djqueue import batch
from djqueue.models import JobBatch
from djqueue.testing import work
from tests.composition import jobs

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ran():
    jobs.ran.clear()
    return jobs.ran


def dispatched(*members, **more):
    return batch(members, name="Import", **more).dispatch()


def test_batches_are_listed_newest_first(run):
    older = dispatched(jobs.number.bind(1))
    newer = dispatched(jobs.number.bind(1), jobs.number.bind(2))
    work(max_jobs=2)
    head, *lines = run("queue_batches").out.splitlines()
    assert head.startswith("ID\tNAME\tSTATE")
    assert [line.split("\t")[0] for line in lines] == [newer.pk, older.pk]
    assert lines[0].split("\t")[1:7] == ["Import", "running", "50", "2", "1", "0"]
    (first, second) = map(json.loads, run("queue_batches", "--json").out.splitlines())
    assert (first["id"], second["state"]) == (newer.pk, "done")
    assert "newest 1" in run("queue_batches", "--limit", "1").err


def test_one_batch_is_shown_by_the_end_of_its_id(run):
    row = dispatched(jobs.number.bind(1))
    assert f"id\t{row.pk}" in run("queue_batches", row.pk[-8:]).out
    missing = run("queue_batches", "ffffffff")
    assert missing.code == 3
    assert "no batch ffffffff" in missing.err


def test_a_batch_is_cancelled(run, caplog):
    row = dispatched(jobs.number.bind(1))
    done = run("queue_batches", row.pk, "--cancel")
    assert done.out.startswith("Cancelled 1 batch.")
    assert "cancelled before" in run("queue_batches", row.pk, "--cancel").err
    assert work() == 0
    assert jobs.ran == []
    assert run("queue_batches", "--cancel").code == 2


def test_an_open_batch_is_closed(run):
    row = dispatched(jobs.number.bind(1))
    JobBatch.objects.update(open_until=row.created_at)
    work()
    assert run("queue_batches", row.pk, "--close", "--cancel").code == 2
    assert run("queue_batches", row.pk, "--close").out.startswith("Closed 1 batch.")
    row.refresh_from_db()
    assert row.finished


def test_the_failed_members_are_retried(run):
    row = dispatched(jobs.once_broken.bind(), jobs.breaks.bind(), allow_failures=True)
    work()
    assert run("queue_retry_batch", row.pk).out == f"Retried 2 jobs of batch {row.pk}.\n"
    work()
    row.refresh_from_db()
    assert (row.pending_jobs, row.failed_jobs) == (0, 1)


def test_old_batches_are_pruned(run):
    dispatched(jobs.number.bind(1))
    dispatched(jobs.number.bind(1)).cancel()
    assert run("queue_prune_batches").out == "Deleted 0 batches.\n"
    assert run("queue_prune_batches", "--cancelled", "0").out == "Deleted 1 batch.\n"
    work()
    assert run("queue_prune_batches", "--hours", "0").out == "Deleted 1 batch.\n"
    assert run("queue_prune_batches", "--hours", "-1").code == 2
