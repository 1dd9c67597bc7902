"""Chains and batches on every store beside the database, while processes are killed."""

from __future__ import annotations

from django.utils import timezone

from djqueue import chain, queues
from djqueue.dispatch.outbox import outbox
from djqueue.dispatch.outbox import rows as outbox_rows
from djqueue.models import FailedJob, Outbox
from djqueue.operations.retrying import retry
from djqueue.testing import work
from tests.app import chained
from tests.composition import jobs
from tests.torture import batches, chains
from tests.torture.sizes import BATCHES, CHAINS, KILLS, SEED, size


def test_each_step_is_queued_once_when_processes_are_killed(store, ledger):
    many, kills = size(CHAINS, 4), size(KILLS, 4)
    job = chained.step
    count = chains.run(
        ledger, job, chains=many, kills=kills, seed=size(SEED, 4), connection="store"
    )
    print(f"{store}: {count}")


def test_batches_are_exact_when_processes_are_killed(store, ledger):
    many, kills = size(BATCHES, 4), size(KILLS, 4)
    seed = size(SEED, 4)
    print(store, batches.run(ledger, batches=many, kills=kills, seed=seed, connection="store"))


def test_a_chain_that_broke_is_taken_up_at_once(store):
    jobs.ran.clear()
    chain([jobs.number.bind(1), jobs.once_broken.bind(), jobs.number.bind(3)]).dispatch()
    assert work() == 2
    assert FailedJob.objects.count() == 1
    assert Outbox.objects.get().broken
    retry()
    assert not Outbox.objects.get().broken
    assert work() == 2
    assert jobs.ran == [(1, None), "broken", "mended", (3, None)]
    assert not Outbox.objects.exists()


def test_a_cancelled_chain_does_not_go_on(store):
    jobs.ran.clear()
    dispatched = chain([jobs.number.bind(1), jobs.number.bind(2), jobs.number.bind(3)]).dispatch()
    assert work(max_jobs=1) == 1
    assert dispatched.cancel()
    assert not Outbox.objects.exists()
    assert work() == 0
    assert queues["store"].size() == 0
    assert jobs.ran == [(1, None)]


def test_what_a_failure_calls_for_runs_once_though_it_is_pushed_again(store):
    jobs.ran.clear()
    chain([jobs.breaks.bind()]).on_failure(jobs.alert.bind("alert")).dispatch()
    taken = []
    gone = outbox_rows.gone
    outbox_rows.gone = lambda *arguments: taken.append(arguments)  # it dies before it deletes
    try:
        assert work() == 2
    finally:
        outbox_rows.gone = gone
    assert taken
    rows = Outbox.objects.filter(name="composition.alert")
    assert rows.update(taken_until=None, taken_by="", due_at=timezone.now()) == 1
    assert outbox.replay() == 1
    work()
    assert jobs.ran == ["breaks", "alert"]
    assert queues["store"].size() in (0, None)
