"""A reservation goes in, an outcome comes out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

import pytest

from djqueue import Job, QueueError, current_job, job, signals
from djqueue.dispatch.dispatch import prepare
from djqueue.drivers.base import Reservation
from djqueue.errors import NotInJob
from djqueue.runner.attempt import Attempt
from djqueue.runner.decision import Action, Ending
from djqueue.runner.outcome import Outcome
from djqueue.runner.rules import Rules
from djqueue.runner.runner import Runner
from djqueue.runner.timer import Timer

pytestmark = pytest.mark.usefixtures("own_jobs")


def reservation(bound: Any, attempt: int = 1, history: str = "") -> Reservation:
    outgoing = prepare(bound, bound._spec).outgoing
    return Reservation(
        outgoing.id, "default", outgoing.name, outgoing.payload, attempt, 0, history, None
    )


def run_held(held: Reservation, rules: Rules | None = None, timer: Timer | None = None) -> Attempt:
    runner = Runner("database", rules or Rules(), timer=timer)
    attempt = runner.attempt(held)
    attempt.outcome = runner.run(attempt)
    return attempt


def run(bound: Any, attempt: int = 1, rules: Rules | None = None) -> tuple[Outcome, Attempt]:
    ran = run_held(reservation(bound, attempt), rules)
    assert ran.outcome is not None
    return ran.outcome, ran


@job(name="tests.runner_sync")
def plain(x: int) -> int:
    return x * 2


@job(name="tests.runner_async", timeout=0)
async def coroutine(x: int) -> int:
    await asyncio.sleep(0)
    return x * 3


@job(name="tests.runner_async_slow", timeout=1)
async def slow_coroutine() -> None:
    await asyncio.sleep(30)


@job(name="tests.runner_verdict", tries=5)
def verdict(how: str) -> None:
    me = current_job()
    if how == "release":
        me.release(30)
    elif how == "fail":
        me.fail("told so")
    elif how == "delete":
        me.delete()
    elif how == "fail, then raise":
        me.fail("told so")
        raise ValueError("later")
    elif how == "release, then raise":
        me.release(30)
        raise ValueError("later")


class Backs(Job, name="tests.runner_backs", tries=3, backoff=99):
    seconds: int

    def handle(self) -> None:
        raise ValueError

    def backoff(self) -> int:
        return self.seconds


@job(name="tests.runner_raises", tries=2, backoff=7)
def raises() -> None:
    raise LookupError("gone")


def test_a_value_comes_back():
    outcome, attempt = run(plain.bind(4))
    assert (outcome.ending, outcome.decision.action) == (Ending.RETURNED, Action.DONE)
    assert attempt.value == 8


def test_a_coroutine_is_finished():
    outcome, attempt = run(coroutine.bind(4))
    assert outcome.ending is Ending.RETURNED
    assert attempt.value == 12


def test_a_coroutine_is_cancelled_when_its_time_is_over():
    began = time.monotonic()
    outcome, _ = run(slow_coroutine.bind())
    assert outcome.ending is Ending.TIMED_OUT
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("how", "ending", "action", "delay"),
    [
        ("release", Ending.RELEASED, Action.RETRY, 30),
        ("fail", Ending.FAILED, Action.FAIL, 0),
        ("delete", Ending.DELETED, Action.DONE, 0),
        ("fail, then raise", Ending.FAILED, Action.FAIL, 0),
        ("release, then raise", Ending.RELEASED, Action.RETRY, 30),
    ],
)
def test_a_job_decides_itself(how, ending, action, delay):
    outcome, _ = run(verdict.bind(how))
    assert (outcome.ending, outcome.decision) == (ending, (action, delay))


def test_an_error_is_described_and_remembered():
    outcome, attempt = run(raises.bind())
    assert outcome.decision == (Action.RETRY, 7)
    assert outcome.error is not None
    assert (outcome.error.class_name, outcome.error.message) == ("LookupError", "gone")
    assert outcome.error.place == "test_runner.py:raises"
    assert isinstance(attempt.error, LookupError)
    (entry,) = json.loads(outcome.history or "")["attempts"]
    assert (entry["attempt"], entry["class"], entry["message"]) == (1, "LookupError", "gone")


def test_the_instance_knows_its_backoff_best():
    assert run(Backs(5))[0].decision == (Action.RETRY, 5)


def test_tries_of_the_worker_hold_for_jobs_that_say_nothing():
    @job(name="tests.runner_silent")
    def silent() -> None:
        raise ValueError

    assert run(silent.bind())[0].decision.action is Action.FAIL
    assert run(silent.bind(), rules=Rules(tries=2))[0].decision.action is Action.RETRY


def test_an_attempt_beyond_the_tries_is_not_begun():
    outcome, _ = run(raises.bind(), attempt=3)
    assert outcome.ending is Ending.EXHAUSTED
    assert outcome.error is not None
    assert outcome.error.class_name == "djqueue.errors.MaxAttemptsExceeded"


def test_current_job_is_there_inside_and_nowhere_else():
    seen = []

    @job(name="tests.runner_current")
    def look() -> None:
        me = current_job()
        seen.append((me.name, me.queue, me.connection, me.attempt, me.instance is not None))

    run(look.bind(), attempt=1)
    assert seen == [("tests.runner_current", "default", "database", 1, True)]
    assert current_job(None) is None
    with pytest.raises(NotInJob):
        current_job()


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


def test_an_exception_that_cannot_be_shown_is_described_all_the_same():
    @job(name="tests.runner_hostile")
    def hostile() -> None:
        raise HostileError("x\0\udcff" * 10_000)

    outcome, _ = run(hostile.bind())
    assert outcome.error is not None
    assert "could not be made" in outcome.error.message
    assert "\0" not in outcome.error.traceback


def test_signals_tell_what_happens(monkeypatch):
    heard: list[str] = []
    names = ("job_started", "job_succeeded", "job_errored", "job_released")
    receivers = {
        name: lambda name=name, **kwargs: heard.append(f"{name} {kwargs['job'].name}")
        for name in names
    }
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver)
    try:
        assert all(run(bound)[0].awaited for bound in (plain.bind(1), raises.bind()))
    finally:
        for name, receiver in receivers.items():
            getattr(signals, name).disconnect(receiver)
    assert heard == [
        "job_started tests.runner_sync",
        "job_started tests.runner_raises",
        "job_errored tests.runner_raises",
    ], "what becomes of the job is announced when that is stored"
    assert not run(plain.bind(1))[0].awaited


def test_a_payload_of_another_job_is_refused():
    held = reservation(plain.bind(1))
    outcome = run_held(held._replace(id="somebody else's")).outcome
    assert outcome.error is not None
    assert outcome.error.class_name == "djqueue.errors.InvalidPayload"


def test_a_name_that_nobody_knows_is_held_back_then_failed():
    held = reservation(plain.bind(1))
    held = held._replace(payload=held.payload.replace("tests.runner_sync", "tests.runner_gone"))
    first = run_held(held, Rules(unknown_grace=600)).outcome
    assert (first.decision, first.charged) == ((Action.RETRY, 15), False)
    later = held._replace(history=first.history or "")
    again = run_held(later, Rules(unknown_grace=600)).outcome
    assert again.decision.action is Action.RETRY
    assert again.history is None
    old = later.history.replace('"at":"2', '"at":"1')  # seen a thousand years ago
    outcome = run_held(later._replace(history=old), Rules(unknown_grace=600)).outcome
    assert outcome.decision.action is Action.FAIL


def test_a_timer_interrupts_a_job_that_swallows_once(alarm):
    @job(name="tests.runner_swallows", timeout=1, tries=1)
    def swallows() -> None:
        with contextlib.suppress(BaseException):
            time.sleep(10)

    outcome = run_held(reservation(swallows.bind()), timer=alarm).outcome
    assert outcome.ending is Ending.TIMED_OUT
    assert outcome.error is not None
    assert "timeout of 1 s and was stopped (attempt 1 of 1)" in outcome.error.message


def test_errors_have_one_root():
    from djqueue import errors

    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    ours = [c for c in classes if c.__module__ == "djqueue.errors" and issubclass(c, Exception)]
    assert len(ours) > 15
    assert all(issubclass(c, QueueError) for c in ours)
