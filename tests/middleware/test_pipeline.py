"""The chain of callables around ``handle()``."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from djqueue import Job, job
from djqueue.errors import LimitReached, ManuallyFailed
from djqueue.middleware.pipeline import Pipelines
from djqueue.payload import history
from djqueue.runner.decision import Action, Ending
from tests.middleware import jobs
from tests.middleware.jobs import AsyncNote, Chosen, Note

pytestmark = pytest.mark.usefixtures("own_jobs")


def make(*middleware, handle=None, name="tests.middleware_made", **options):
    """A job with these around it."""

    def handle_it(self):
        jobs.trail.append("work")
        return "done"

    async def handle_async(self):
        await asyncio.sleep(0)
        jobs.trail.append("work")
        return "done"

    body = {"sync": handle_it, "async": handle_async, None: handle_it}.get(handle, handle)

    class Made(Job, name=name, middleware=middleware, **options):
        handle = body

    return Made()


def test_the_first_one_is_outermost_and_the_value_comes_back(attempt, trail):
    made = attempt(make(jobs.upper, Note("a"), Note("b")))
    assert made.value == "DONE"
    assert trail == ["a in", "b in", "work", "b out", "a out"]
    assert made.outcome.ending is Ending.RETURNED


def test_those_of_the_settings_come_before_those_of_the_job(attempt, trail, around):
    around("tests.middleware.jobs.Note", "tests.middleware.jobs.upper")
    assert attempt(make(Note("own"))).value == "DONE"
    assert trail == ["settings in", "own in", "work", "own out", "settings out"]


def test_the_method_beats_the_option_and_may_take_it_over(attempt, trail):
    attempt(Chosen(own=True))
    assert trail == ["class in", "own in", "work", "own out", "class out"]
    trail.clear()
    attempt(Chosen(own=False))
    assert trail == ["work"]


@pytest.mark.parametrize("handle", ["sync", "async"])
@pytest.mark.parametrize(
    "kinds",
    [(Note,), (AsyncNote,), (Note, AsyncNote), (AsyncNote, Note), (AsyncNote, Note, AsyncNote)],
)
def test_functions_and_coroutines_in_any_order(attempt, trail, kinds, handle):
    made = attempt(make(*(kind(str(i)) for i, kind in enumerate(kinds)), handle=handle))
    assert made.error is None
    assert made.value == "done"
    ins = [f"{i} in" for i in range(len(kinds))]
    assert trail == [*ins, "work", *(f"{i} out" for i in reversed(range(len(kinds))))]


@pytest.mark.parametrize("handle", ["sync", "async"])
def test_who_does_not_call_next_skips_the_job(attempt, trail, handle, caplog):
    with caplog.at_level(logging.INFO, "djqueue.jobs"):
        made = attempt(make(Note("a"), jobs.stop, Note("b"), handle=handle))
    assert trail == ["a in", "a out"]
    assert made.outcome.ending is Ending.DELETED
    assert made.outcome.decision.action is Action.DONE
    assert "was skipped by its middleware" in caplog.text


def test_fail_and_release_decide_otherwise(attempt, trail):
    failed = attempt(make(jobs.fail))
    assert failed.outcome.decision.action is Action.FAIL
    assert isinstance(failed.error, ManuallyFailed)
    released = attempt(make(jobs.release)).outcome
    assert (released.decision.action, released.decision.delay) == (Action.RETRY, 30)
    assert trail == []


def test_a_release_before_handle_is_no_attempt_and_one_after_it_is(attempt, trail):
    assert not attempt(make(jobs.release)).outcome.charged
    assert attempt(make(jobs.release_after)).outcome.charged


def test_an_exception_of_a_middleware_is_one_of_the_job(attempt, trail):
    def broken(job, next):
        raise ValueError("broken")

    made = attempt(make(broken, tries=2))
    assert made.outcome.ending is Ending.RAISED
    assert made.outcome.decision.action is Action.RETRY
    assert made.outcome.charged


def test_it_is_composed_once_a_class(trail):
    pipelines = Pipelines(lambda value: value)
    one, two = make(jobs.upper), make(jobs.upper)
    composed = []
    pipelines._first_step = lambda definition: composed.append(definition) or len
    for definition in (one._spec, one._spec, two._spec, one._spec):
        assert pipelines[definition] is len
    assert composed == [one._spec, two._spec]


def test_it_is_within_the_timeout_of_the_job(alarm, attempt, trail):
    def slow(job, next):
        time.sleep(5)

    outcome = attempt(make(slow, timeout=0.2, tries=1), timer=alarm).outcome
    assert outcome.ending is Ending.TIMED_OUT
    assert outcome.duration < 2


def test_what_is_left_of_the_timeout_is_left_behind_a_coroutine(alarm, attempt, trail):
    def slow(job, next):
        next(job)
        time.sleep(5)

    outcome = attempt(make(slow, handle="async", timeout=0.5, tries=1), timer=alarm).outcome
    assert trail == ["work"]
    assert outcome.ending is Ending.TIMED_OUT
    assert outcome.duration < 1.4


# -- limits ------------------------------------------------------------------------------------


def limited(seconds):
    def middleware(job, next):
        raise LimitReached("The limit is reached.", seconds)

    return middleware


def test_a_limit_releases_the_job_uncharged_with_its_reason(attempt, trail, caplog):
    with caplog.at_level(logging.INFO, "djqueue.jobs"):
        made = attempt(make(limited(7), tries=1))
    outcome = made.outcome
    assert (outcome.ending, outcome.charged) == (Ending.HELD_BACK, False)
    assert (outcome.decision.action, outcome.decision.delay) == (Action.RETRY, 7)
    assert history.read(outcome.history).attempts[-1]["message"] == "The limit is reached."
    assert "held back for 7 s: The limit is reached." in caplog.text
    assert caplog.records[-1].levelname == "INFO"


def test_what_is_held_back_again_and_again_has_one_entry(attempt, trail):
    first = attempt(make(limited(7))).outcome.history
    second = attempt(make(limited(9)), history=first).outcome.history
    assert len(history.read(second).attempts) == 1
    assert history.read(second).errors == 0


def test_one_that_leaves_handle_does_the_same(attempt, trail):
    def handle(self):
        raise LimitReached("The limit is reached.", 7)

    outcome = attempt(make(handle=handle)).outcome
    assert (outcome.ending, outcome.charged, outcome.decision.delay) == (
        Ending.HELD_BACK,
        False,
        7,
    )


def test_retry_until_bounds_it(attempt, trail):
    made = attempt(make(limited(60), retry_until=30))
    assert made.outcome.decision.action is Action.FAIL
    assert isinstance(made.error, LimitReached)


def test_dispatch_sync_gives_the_error_to_its_caller(trail):
    with pytest.raises(LimitReached):
        make(limited(7), name="tests.middleware_sync").dispatch_sync()


@job(name="tests.middleware_retries", tries=3, retry_on=OSError)
def retries(kind: str) -> None:
    raise {"os": ConnectionError, "value": ValueError}[kind]


def test_retry_on_says_what_is_worth_another_try(attempt):
    assert attempt(retries.bind("os")).outcome.decision.action is Action.RETRY
    assert attempt(retries.bind("value")).outcome.decision.action is Action.FAIL
