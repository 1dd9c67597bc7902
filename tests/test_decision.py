"""What becomes of a job after an attempt, as one table."""

from __future__ import annotations

import ast

import pytest

from djqueue.payload.backoff import Exponential
from djqueue.runner.decision import (
    Action,
    Decision,
    Ending,
    Facts,
    decide,
    exhausted,
)
from tests.house import House

DONE = Decision(Action.DONE)
FAIL = Decision(Action.FAIL)
INTERRUPT = Decision(Action.INTERRUPT)


def retry(delay: float = 0.0) -> Decision:
    return Decision(Action.RETRY, delay)


def facts(attempt: int = 1, tries: int = 1, **more: object) -> Facts:
    return Facts(attempt, tries)._replace(**more)


CASES = [
    # it ended well, or was told to
    (Ending.RETURNED, facts(), DONE),
    (Ending.RETURNED, facts(attempt=9, tries=1), DONE),
    (Ending.DELETED, facts(), DONE),
    (Ending.FAILED, facts(tries=5), FAIL),
    (Ending.EXHAUSTED, facts(tries=5), FAIL),
    # errors, timeouts and deaths use up tries alike
    *(
        case
        for how in (Ending.RAISED, Ending.TIMED_OUT, Ending.DIED)
        for case in [
            (how, facts(attempt=1, tries=1), FAIL),
            (how, facts(attempt=1, tries=2), retry()),
            (how, facts(attempt=2, tries=2), FAIL),
            (how, facts(attempt=3, tries=2), FAIL),
            (how, facts(attempt=999, tries=0), retry()),
            (how, facts(attempt=1, tries=3, backoff=(10, 60)), retry(10)),
            (how, facts(attempt=2, tries=3, backoff=(10, 60)), retry(60)),
            (how, facts(attempt=7, tries=9, backoff=(10, 60)), retry(60)),
            # max_exceptions counts those, whatever tries say
            (how, facts(tries=0, exceptions=1, max_exceptions=2), retry()),
            (how, facts(tries=0, exceptions=2, max_exceptions=2), FAIL),
            # retry_until beats tries
            (how, facts(attempt=9, tries=1, has_retry_until=True), retry()),
            (how, facts(attempt=1, tries=9, has_retry_until=True, expired=True), FAIL),
            (how, facts(tries=9, has_retry_until=True, exceptions=1, max_exceptions=1), FAIL),
        ]
    ),
    (Ending.TIMED_OUT, facts(tries=5, fail_on_timeout=True), FAIL),
    (Ending.RAISED, facts(tries=5, fail_on_timeout=True), retry()),
    # the job's options say which exceptions are worth another try
    (Ending.RAISED, facts(tries=5, may_retry=False), FAIL),
    (Ending.RAISED, facts(tries=0, has_retry_until=True, may_retry=False), FAIL),
    (Ending.TIMED_OUT, facts(tries=5, may_retry=False), retry()),
    # delays that double, and jitter
    (Ending.RAISED, facts(attempt=3, tries=0, backoff=Exponential(2, 600, False)), retry(8)),
    (Ending.RAISED, facts(attempt=99, tries=0, backoff=Exponential(2, 600, False)), retry(600)),
    (Ending.RAISED, facts(tries=0, backoff=Exponential(2, 600), chance=1.0), retry(1)),
    (Ending.RAISED, facts(tries=0, backoff=(10,), jitter=True, chance=0.5), retry(7.5)),
    (Ending.RAISED, facts(tries=0, backoff=(10,), chance=0.5), retry(10)),
    (Ending.RAISED, facts(has_retry_until=True, left=9, backoff=(10,)), FAIL),
    (Ending.RAISED, facts(has_retry_until=True, left=9, backoff=(8,)), retry(8)),
    # it was not begun
    (Ending.HELD_BACK, facts(attempt=9, tries=1), retry()),
    (Ending.EXHAUSTED, facts(attempt=9, tries=1, has_retry_until=True), FAIL),
    (Ending.MISSING, facts(tries=5), FAIL),
    (Ending.MISSING, facts(tries=1, delete_when_missing=True), DONE),
    (Ending.UNKNOWN, facts(grace=600), retry(15)),
    (Ending.UNKNOWN, facts(grace=600, held_back=599), retry(15)),
    (Ending.UNKNOWN, facts(grace=600, held_back=600), FAIL),
    (Ending.UNKNOWN, facts(attempt=9, tries=1, grace=5, held_back=1), retry(5)),
    (Ending.UNKNOWN, facts(tries=5), FAIL),
    # somebody else has it
    (Ending.LOST, facts(tries=5), DONE),
    # nobody saw the end
    (Ending.INTERRUPTED, facts(interruptions=1), INTERRUPT),
    (Ending.INTERRUPTED, facts(interruptions=3), INTERRUPT),
    (Ending.INTERRUPTED, facts(interruptions=4), FAIL),
    (Ending.INTERRUPTED, facts(interruptions=1, max_interruptions=0), FAIL),
    (Ending.INTERRUPTED, facts(attempt=9, tries=1, interruptions=1), INTERRUPT),
    (Ending.STOPPED, facts(interruptions=3), INTERRUPT),
    (Ending.STOPPED, facts(interruptions=4), FAIL),
]


@pytest.mark.parametrize(("ending", "known", "decision"), CASES)
def test_decide(ending, known, decision):
    assert decide(ending, known) == decision


def test_nothing_else_decides():
    """No `Decision(Action.…)` is made elsewhere, and `decide` has one caller."""
    for name, source in House().sources.items():
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        named = [(node, getattr(node.func, "id", getattr(node.func, "attr", ""))) for node in calls]
        if name != "djqueue.runner.decision":
            made = [node for node, called in named if called == "Decision" and literal(node)]
            assert not made, f"{name}:{made[0].lineno}"
        if name != "djqueue.runner.conclude":
            assert not [node for node, called in named if called == "decide"], name


def literal(call):
    """Whether an action is written where the decision is made, not read from somewhere."""
    first = call.args[0] if call.args else None
    return isinstance(first, ast.Attribute) and getattr(first.value, "id", "") == "Action"


def test_a_release_says_itself_when_the_job_is_due_again():
    assert decide(Ending.RELEASED, facts(attempt=5, tries=1), delay=30) == retry(30)


@pytest.mark.parametrize(
    ("known", "answer"),
    [
        (facts(attempt=1, tries=1), False),
        (facts(attempt=2, tries=1), True),
        (facts(attempt=99, tries=0), False),
        (facts(attempt=99, tries=1, has_retry_until=True), False),
        (facts(attempt=1, tries=1, has_retry_until=True, expired=True), True),
    ],
)
def test_what_must_not_begin(known, answer):
    assert exhausted(known) is answer


def test_what_a_limit_holds_back_comes_again_in_time_or_is_given_up():
    until = facts(has_retry_until=True, left=30)
    assert decide(Ending.HELD_BACK, until, delay=29) == retry(29)
    assert decide(Ending.HELD_BACK, until, delay=30) == FAIL
