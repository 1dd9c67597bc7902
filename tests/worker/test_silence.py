"""A child that holds jobs, runs nothing and says nothing is ended; its jobs are not lost."""

from __future__ import annotations

import os
import signal
import time

from djqueue import signals
from djqueue.drivers import clock
from djqueue.payload import history
from djqueue.runner.decision import Ending
from djqueue.worker.children.channel import WorkItem
from djqueue.worker.children.children import Children
from djqueue.worker.children.facts import ExitedChild, outcome_of
from djqueue.worker.children.process import Broken, ChildState, Process, Stopped
from tests.support import wait_until
from tests.worker.born import born, reservations


def _exit_of(children: Children) -> ExitedChild:
    (exited,) = wait_until(lambda: list(children.exits()), every=0.001)
    return exited


def _is_ended_after(children: Children, process: Process, seconds: float) -> None:
    """The time is handed in: nobody waits for it here."""
    since = process.last_sign_at
    children.kill_silent(since + seconds - 1)
    assert process.killed_for is None
    children.kill_silent(since + seconds + 1)
    why = f"Its process held jobs and did nothing for {seconds + 1:.0f} s."
    assert process.killed_for == Broken(why)
    assert process.state is ChildState.KILLED


def test_a_child_that_does_not_begin_what_it_is_given(children):
    """A receiver of `worker_looping` that hangs is outside of every job's timeout."""
    signals.worker_looping.connect(_hangs)
    try:
        process = born(children)
    finally:
        signals.worker_looping.disconnect(_hangs)
    wait_until(lambda: process.slot.is_up)
    process.hand_over(reservations(3))
    _is_ended_after(children, process, 15)
    assert _exit_of(children).process is process
    assert len(process.take_back()) == 3  # none of them was begun
    process.close()
    assert not process.held


def _hangs(**_: object) -> None:
    time.sleep(60)


def test_a_child_that_does_not_come_up(children):
    """It has more time: it may have to load what the project is made of."""
    children.start_warden()
    assert children.wardens.link is not None
    os.kill(children.wardens.link.pid, signal.SIGSTOP)
    try:
        process = born(children)
        process.hand_over(reservations(1))
        assert not process.slot.is_up
        _is_ended_after(children, process, 120)
    finally:
        os.kill(children.wardens.link.pid, signal.SIGCONT)
    assert _exit_of(children).process is process
    assert len(process.take_back()) == 1
    process.close()


def test_a_child_that_does_not_say_how_its_job_ended(children):
    """What it began is on record as interrupted, and counts: it may be the job's own doing."""
    process = born(children)
    process.hand_over(reservations(1, seconds=0.2))
    wait_until(lambda: process.running())
    os.kill(process.pid, signal.SIGSTOP)
    process.slot.end()  # as it does itself before it speaks
    process.last_sign_at = clock.now()
    _is_ended_after(children, process, 15)
    exited = _exit_of(children)
    assert process.take_back() == []
    process.close()
    (item,) = process.held.values()
    assert isinstance(item, WorkItem)
    outcome = outcome_of(exited, item, children.settings)
    assert outcome.ending is Ending.INTERRUPTED
    assert "did nothing for 16 s" in outcome.history
    assert not history.read(outcome.history).stopped


def test_a_child_that_runs_something_or_holds_nothing_may_be_silent(children):
    process = born(children)
    wait_until(lambda: process.slot.is_up)
    children.kill_silent(clock.now() + 1000)
    assert process.killed_for is None
    process.hand_over(reservations(1, seconds=30))
    wait_until(lambda: process.running())
    children.kill_silent(clock.now() + 1000)
    assert process.killed_for is None
    process.kill(Stopped("the test"))
    _exit_of(children).process.close()
