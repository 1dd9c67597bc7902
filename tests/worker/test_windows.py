"""What a child has begun is known exactly, whatever kills it when."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from djqueue import job
from djqueue.drivers import clock
from djqueue.drivers.base import Reservation
from djqueue.worker.children.children import Children
from djqueue.worker.children.facts import ExitedChild, LongRunning, Unbegun
from djqueue.worker.children.process import ChildState, Stopped
from tests import ledger as ledgers
from tests.support import wait_until
from tests.torture.sizes import WINDOWS, size
from tests.worker.born import born, reservations

WINDOW = 100


@pytest.mark.parametrize("seed", range(10))
def test_done_and_dead_and_taken_back_are_the_window(children, plain_ledger, seed, request):
    chance = random.Random(seed)
    window = reservations(WINDOW)
    for _ in range(size(WINDOWS, 100) // 10):
        plain_ledger.path.unlink(missing_ok=True)
        process = born(children)
        process.hand_over(window)
        time.sleep(chance.uniform(0, 0.02))
        process.kill(Stopped("the test"))
        (exited,) = _reap(children)
        done = {item.reservation.id for item, *_ in process.reports()}
        taken_back = {item.reservation.id for item in process.take_back()}
        dead = {item.reservation.id for item in process.held.values()}
        assert os.WTERMSIG(exited.status) == signal.SIGKILL
        assert len(dead) <= 1
        assert len(done) + len(dead) + len(taken_back) == WINDOW
        begun = set(plain_ledger.count("begin"))
        assert done <= begun <= done | dead
        process.close()


def test_what_a_dead_child_is_given_was_not_begun(children, plain_ledger):
    process = born(children)
    process.kill(Stopped("the test"))
    _reap(children)
    process.hand_over(reservations(WINDOW))
    process.send()
    assert len(process.take_back()) == WINDOW
    assert not process.held
    process.close()


def test_a_job_that_runs_for_long_lets_the_others_go(children, plain_ledger):
    process = born(children)
    process.hand_over([*reservations(1, 5.0), *reservations(20)])
    long, unbegun = wait_until(lambda: children.take_back_behind_long_jobs(clock.now()))
    assert isinstance(long, LongRunning)
    assert long.name == "app.record"
    assert isinstance(unbegun, Unbegun)
    assert len(unbegun.jobs) == 20
    assert len(process.held) == 1
    assert process.state is ChildState.FULL
    process.kill(Stopped("the test"))
    process.close()


def test_what_was_taken_back_is_skipped_and_what_follows_runs(children, plain_ledger):
    process = born(children)
    process.hand_over([*reservations(1, 0.3), *reservations(20)])
    while not plain_ledger.lines("begin"):
        time.sleep(0.01)
    back = process.take_back()
    later = reservations(5)
    process.hand_over(later)
    answered = 0
    deadline = time.monotonic() + 10
    while answered < 6 and time.monotonic() < deadline:
        answered += len(process.reports())
        time.sleep(0.01)
    begun = set(plain_ledger.count("begin"))
    assert {reservation.id for reservation in later} <= begun
    assert not {item.reservation.id for item in back} & begun
    assert not process.held


def test_a_payload_larger_than_every_buffer_arrives(children, plain_ledger):
    process = born(children)
    bound = swallow.bind("x" * 5_000_000)
    from djqueue.dispatch.dispatch import prepare

    outgoing = prepare(bound, bound._spec).outgoing
    process.hand_over(
        [Reservation(outgoing.id, "default", "tests.swallow", outgoing.payload, 1, 0, "", 0)]
    )
    deadline = time.monotonic() + 10
    while process.held and time.monotonic() < deadline:
        process.send()
        for _, outcome, _ in process.reports():
            assert outcome is not None
            assert outcome.error is None, outcome.error
        time.sleep(0.005)
    assert plain_ledger.details("length") == ["5000000"]


@job(name="tests.swallow")
def swallow(text: str) -> None:
    ledgers.write("length", len(text))


def _reap(children: Children) -> list[ExitedChild]:
    exited: list[ExitedChild] = []
    while not exited:
        exited = list(children.exits())
    return exited
