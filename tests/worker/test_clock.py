"""Leases, pauses and timers, on a clock whose hands the test moves: no process and no waiting."""

from __future__ import annotations

import os
import selectors

import pytest

from djqueue.conf import settings as current
from djqueue.drivers import clock, make_driver
from djqueue.errors import QueueUnavailable
from djqueue.worker.options import StopReason, WorkerOptions
from djqueue.worker.progress import LAST_WORDS, Progress
from djqueue.worker.report.report import Report
from djqueue.worker.schedule import NEVER, Schedule, Timer
from djqueue.worker.store.access import StoreAccess
from djqueue.worker.worker import Worker

OPTIONS = WorkerOptions("null", ("default",))


class Hands:
    """A clock that shows what it is set to."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def hands():
    return Hands()


@pytest.fixture
def store(hands):
    """The access of a worker that has joined a store which keeps nothing."""
    with selectors.DefaultSelector() as selector:
        access = StoreAccess(make_driver(current().connection("null")), OPTIONS, selector, hands)
        access.join()
        yield access


def test_a_lease_counts_from_its_last_renewal(store, hands):
    lease = store.lease
    margin = min(lease.length / 8, 3)
    assert lease.ends_at == pytest.approx(1000 + lease.length - margin)
    hands.at = lease.next_at
    store.renew([])
    assert lease.ends_at == pytest.approx(hands.at + lease.length - margin)
    assert hands.at + lease.every * 0.8 <= lease.next_at <= hands.at + lease.every


def test_only_a_worker_with_two_renewals_on_time_takes_over_from_others(store, hands):
    for expected in (False, True):
        hands.at = store.lease.next_at
        store.renew([])
        assert store.lease.may_recover_others is expected
    hands.at += store.lease.every * 3  # asleep
    for expected in (False, False, True):
        store.renew([])
        assert store.lease.may_recover_others is expected
        hands.at = store.lease.next_at


def test_a_lease_is_not_renewed_before_it_is_time(store, hands):
    before = store.lease.ends_at
    hands.at += 0.1
    store.renew([])
    assert store.lease.ends_at == before


def test_a_store_that_fails_is_left_alone_for_ever_longer(store, hands):
    for pause in (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0):
        assert store.may_ask()
        store.failed(QueueUnavailable("It is away."))
        assert store.opens_at == pytest.approx(hands.at + pause)
        assert not store.may_ask()
        hands.at = store.opens_at
    assert store.answered()
    assert not store.answered()  # said once
    assert store.renew_at <= hands.at  # at once, before others take over


def test_a_store_that_was_away_is_not_waited_for_at_the_end(store, hands):
    store.be_brief(2.0, ends_at=hands.at + 10)
    store.failed(QueueUnavailable("It is away."))
    hands.at += 7.9
    assert store.may_ask()
    hands.at += 0.2  # to connect alone may take two seconds
    assert not store.may_ask()
    assert store.opens_at == NEVER


def test_unacknowledged_jobs_are_looked_for_twice_after_an_outage(store, hands):
    assert store.look_at == NEVER
    store.failed(QueueUnavailable("It is away."))
    hands.at = store.look_at
    store.unacknowledged([])
    assert store.look_at == pytest.approx(hands.at + 5)
    hands.at = store.look_at
    store.unacknowledged([])
    assert store.look_at == NEVER


def test_the_loop_sleeps_until_the_smallest_moment():
    schedule = Schedule({Timer.WATCH: 5.0, Timer.PROMOTE: 3.0, Timer.LEASE: 9.0})
    assert schedule.next_at(store=True) == 3
    assert schedule.next_at(store=False) == 5
    assert schedule.due(5.0, store=True) == [Timer.PROMOTE, Timer.WATCH]
    assert schedule.due(5.0, store=False) == [Timer.WATCH]
    schedule.set(Timer.PROMOTE, 8.0)
    schedule.set_at_most(Timer.PROMOTE, 7.0)
    schedule.set_at_most(Timer.PROMOTE, 9.0)
    schedule.set(Timer.WATCH, NEVER)
    assert schedule.next_at(store=True) == 7


def test_a_timer_that_only_wakes_is_not_due():
    schedule = Schedule({Timer.EXCHANGE: 1.0})
    assert schedule.next_at(store=True) == 1
    assert schedule.due(2.0, store=True) == []


def test_a_worker_that_stops_looks_twice_whether_it_ends():
    progress = Progress(started=0.0)
    assert progress.accepting
    assert progress.next_end(5.0) == NEVER
    progress.reason, progress.end_at = StopReason.SIGNAL, 30.0
    assert not progress.accepting
    assert progress.next_end(5.0) == 30
    assert progress.next_end(30.0) == 30 + LAST_WORDS


@pytest.fixture
def worker():
    """One that has joined its store, and has nothing else to do by the clock."""
    worker = Worker(OPTIONS, make_driver(current().connection("null")), Report())
    worker.store.join()
    for timer in Timer:
        worker.schedule.set(timer, NEVER)
    yield worker
    worker.children.close()
    worker.events.selector.close()
    for descriptor in (*worker.events.interrupts.private, worker.events.interrupts.for_warden):
        os.close(descriptor)


def test_a_worker_that_rests_wakes_to_renew_its_lease(worker):
    now = clock.now()
    worker.progress.rest_until = now + worker.store.lease.length * 10
    worker.children.size = 0
    worker._set_timers(now, worker._room(now))
    assert worker.schedule.next_at(store=True) == worker.store.renew_at
    assert now < worker.store.renew_at <= now + worker.store.lease.every
    assert worker.schedule.due(worker.store.renew_at, store=True) == [Timer.RENEW_LEASE]


def test_a_worker_without_a_lease_does_not_wake_to_start_children(worker):
    over = worker.store.lease.ends_at
    worker._set_timers(over - 1, 0)
    assert worker.schedule.next_at(store=True) <= over - 1
    worker.store.lease.next_at = over + 5  # its store is away
    worker._set_timers(over, 0)
    assert worker.schedule.next_at(store=True) == over + 5
