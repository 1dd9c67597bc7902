"""What becomes of a job after an attempt: one pure function.

Nothing here knows a database, a clock or a process. Callers say how an attempt ended and what the
limits are; the answer says what to store.
"""

from __future__ import annotations

import enum
import math
from typing import NamedTuple

from djqueue.payload.backoff import Backoff, delay_after


class Ending(enum.Enum):
    """How an attempt ended."""

    RETURNED = "returned"
    RAISED = "raised"
    TIMED_OUT = "timed out"
    DIED = "died"
    """Its process ended while its parent watched."""
    RELEASED = "released"
    """It called ``release()``, or a middleware did."""
    DELETED = "deleted"
    """It called ``delete()``, a middleware skipped it, or an earlier attempt had committed it."""
    FAILED = "failed"
    """It called ``fail()``, or can never run: its payload is damaged."""
    INTERRUPTED = "interrupted"
    """Its end was not seen."""
    STOPPED = "stopped"
    """An orderly end of its worker cut it short."""
    EXHAUSTED = "exhausted"
    """It had no try left before it began."""
    UNKNOWN = "unknown"
    """It cannot be run yet: its name is unknown here, or its arguments cannot be fetched."""
    MISSING = "missing"
    """A model that it is about is gone."""
    HELD_BACK = "held back"
    """A limit was reached."""
    LOST = "lost"
    """Another worker has the job, and what this attempt wrote was rolled back."""
    CANCELLED = "cancelled"
    """An operator stopped it."""


class Action(enum.Enum):
    """What to do about it."""

    DONE = "done"
    RETRY = "retry"
    FAIL = "fail"
    INTERRUPT = "interrupt"
    CANCEL = "cancel"
    """It goes, and what waits for its success goes with it."""


class Facts(NamedTuple):
    """What the decision rests on. Durations are in seconds; ``tries`` of 0 means no limit."""

    attempt: int
    tries: int
    exceptions: int = 0
    """Attempts that ended in an error, a timeout or a death, this one included."""
    interruptions: int = 0
    """Interruptions that count, this one included; those by the orderly end of a worker do not."""
    max_exceptions: int | None = None
    max_interruptions: int = 3
    backoff: Backoff = ()
    jitter: bool = False
    chance: float = 0.0
    """From 0 to 1: how much jitter takes of what it may take."""
    may_retry: bool = True
    """What was raised is none that ``fail_on`` and ``retry_on`` end the job for."""
    fail_on_timeout: bool = False
    has_retry_until: bool = False
    """There is a ``retry_until``, which beats ``tries``."""
    expired: bool = False
    """It has passed."""
    left: float = math.inf
    """Seconds until it passes."""
    held_back: float | None = None
    """Seconds since the job was first found to be `Ending.UNKNOWN`; None: it is the first time."""
    grace: float = 0.0
    """Seconds for which such a job is held back."""
    delete_when_missing: bool = False


class Decision(NamedTuple):
    """The answer. `delay` is meant for RETRY."""

    action: Action
    delay: float = 0.0


# For what is asked once a job: Python 3.11 takes half a microsecond to find a member of an enum.
RETURNED, RELEASED, TIMED_OUT = Ending.RETURNED, Ending.RELEASED, Ending.TIMED_OUT
LOST = Ending.LOST

DONE, FAIL, INTERRUPT = map(Decision, (Action.DONE, Action.FAIL, Action.INTERRUPT))
CANCEL = Decision(Action.CANCEL)
_WITHOUT_LIMITS = Facts(attempt=1, tries=0)
_ALWAYS = {
    Ending.RETURNED: DONE,
    Ending.DELETED: DONE,
    Ending.LOST: DONE,
    Ending.FAILED: FAIL,
    Ending.EXHAUSTED: FAIL,
    Ending.CANCELLED: CANCEL,
}


def decide(ending: Ending, facts: Facts = _WITHOUT_LIMITS, delay: float = 0.0) -> Decision:
    """Decide about an attempt; `delay` is what ``release(delay)`` asked for. The `facts` do not
    matter if the job itself has asked for its ending.
    """
    if ending is RETURNED:
        return DONE
    if ending is RELEASED:
        return Decision(Action.RETRY, delay)
    if ending in _ALWAYS:
        return _ALWAYS[ending]
    if ending is Ending.MISSING:
        return DONE if facts.delete_when_missing else FAIL
    if ending is Ending.UNKNOWN:
        return _held_back(facts)
    if ending in (Ending.INTERRUPTED, Ending.STOPPED):
        return FAIL if facts.interruptions > facts.max_interruptions else INTERRUPT
    if ending is Ending.HELD_BACK:
        return Decision(Action.RETRY, delay) if delay < facts.left else FAIL
    if ending is Ending.RAISED and not facts.may_retry:
        return FAIL
    wait = delay_after(facts.backoff, facts.attempt, facts.jitter, facts.chance)
    if _spent(facts, wait) or (ending is Ending.TIMED_OUT and facts.fail_on_timeout):
        return FAIL
    return Decision(Action.RETRY, wait)


ASK_AGAIN = 15.0
"""Seconds until another worker, which may be newer, is asked to run a job that is unknown here."""


def _held_back(facts: Facts) -> Decision:
    if facts.grace <= 0 or (facts.held_back is not None and facts.held_back >= facts.grace):
        return FAIL
    return Decision(Action.RETRY, min(ASK_AGAIN, facts.grace))


def _spent(facts: Facts, wait: float) -> bool:
    """Return whether no attempt may follow, `wait` seconds from now."""
    if facts.max_exceptions is not None and facts.exceptions >= facts.max_exceptions:
        return True
    if facts.has_retry_until:
        # A job whose next attempt would begin too late fails now, with its error as the reason.
        return facts.expired or wait >= facts.left
    return facts.tries > 0 and facts.attempt >= facts.tries


def exhausted(facts: Facts) -> bool:
    """Return whether an attempt that has been reserved must not begin."""
    if facts.has_retry_until:
        return facts.expired
    return facts.tries > 0 and facts.attempt > facts.tries
