"""Chains and batches on every store beside the database, while processes are killed."""

from __future__ import annotations

import pytest
from django.utils import timezone

from djqueue import batch, chain, queues
from djqueue.composition.finishing import finish_for
from djqueue.dispatch.outbox import outbox
from djqueue.dispatch.outbox import rows as outbox_rows
from djqueue.errors import QueueUnavailable
from djqueue.models import FailedJob, Outbox
from djqueue.operations.retrying import retry
from djqueue.runner.decision import DONE, Ending
from djqueue.runner.outcome import End, Outcome
from djqueue.testing import work
from tests.app import chained
from tests.composition import jobs
from tests.support import start_worker
from tests.torture import batches, chains
from tests.torture.sizes import BATCHES, CHAINS, KILLS, SEED, size


@pytest.mark.scenario
@pytest.mark.parametrize("step", [chained.step, chained.atomic_step], ids=["plain", "atomic"])
def test_each_step_is_queued_once_when_processes_are_killed(store, ledger, step):
    many, kills = size(CHAINS, 4 if step is chained.step else 2), size(KILLS, 4)
    count = chains.run(
        ledger, step, chains=many, kills=kills, seed=size(SEED, 4), connection="store"
    )
    print(f"{store}: {count}")


@pytest.mark.scenario
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


def test_a_member_that_failed_runs_again_at_once(store):
    jobs.ran.clear()
    row = batch([jobs.once_broken.bind(), jobs.number.bind(2)], allow_failures=True).dispatch()
    assert work() == 2
    row.refresh_from_db()
    assert (row.pending_jobs, row.failed_jobs) == (0, 1)
    retry()
    row.refresh_from_db()
    assert (row.pending_jobs, row.failed_jobs) == (1, 0)
    assert work() == 1
    row.refresh_from_db()
    assert (row.pending_jobs, row.failed_jobs) == (0, 0)
    assert sorted(map(str, jobs.ran)) == ["(2, None)", "broken", "mended"]


def test_a_worker_that_stops_when_nothing_waits_runs_a_chain_to_its_end(store, ledger):
    if store != "redis":
        pytest.skip("once is enough")
    chain([chained.step.bind(1, number) for number in range(5)]).dispatch()
    with start_worker("store", "--stop-when-empty") as worker:
        assert worker.wait(60) == 0
    assert len(ledger.details("end")) == 5


@pytest.mark.parametrize("member", [jobs.number, jobs.atomic], ids=["plain", "atomic"])
def test_each_member_is_counted_once(store, member):
    jobs.ran.clear()
    row = batch([member.bind(value) for value in range(3)]).dispatch()
    for pending in (2, 1, 0):
        assert work(max_jobs=1) == 1
        row.refresh_from_db()
        assert row.pending_jobs == pending


def test_an_end_is_followed_once_though_its_store_could_not_remove_the_job(store, monkeypatch):
    row = batch([jobs.number.bind(1), jobs.number.bind(2)]).dispatch()
    session = queues["store"].driver.session()
    finish = finish_for(session, "store")
    (reservation,) = session.exchange((), ["default"], 1).reservations
    finish.add([End(reservation, Outcome(Ending.RETURNED, DONE))])

    def is_away(settlements):
        raise QueueUnavailable("away for a moment", ambiguous=True)

    with monkeypatch.context() as patched:
        patched.setattr(session, "settle", is_away)
        with pytest.raises(QueueUnavailable):
            finish.store_followed()
    finish.store_followed()
    assert [end.id for end in finish.take_stored()] == [reservation.id]
    row.refresh_from_db()
    assert row.pending_jobs == 1


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
