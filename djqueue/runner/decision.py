"""What becomes of a job after an attempt: one pure function.

Nothing here knows a database, a clock or a process. Callers say how an attempt ended and what the
limits are; the answer says what to store.
"""

from __future__ import annotations

import enum
import math
from typing import NamedTuple


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
    """It called ``delete()``, or a middleware skipped it."""
    FAILED = "failed"
    """It called ``fail()``, or can never run: a damaged payload, a missing model."""
    INTERRUPTED = "interrupted"
    """Nobody saw its end, or a shutdown cut it short."""
    EXHAUSTED = "exhausted"
    """It had no try left before it began."""
    LOST = "lost"
    """Somebody else has the job, and what this attempt wrote was rolled back."""


class Action(enum.Enum):
    """What to do about it."""

    DONE = "done"
    RETRY = "retry"
    FAIL = "fail"
    INTERRUPT = "interrupt"


class Facts(NamedTuple):
    """What the decision rests on. Durations are in seconds; ``tries`` of 0 means no limit."""

    attempt: int
    tries: int
    exceptions: int = 0
    """Attempts that ended in an error, a timeout or a death, this one included."""
    interruptions: int = 0
    """Interruptions, this one included."""
    max_exceptions: int | None = None
    max_interruptions: int = 3
    backoff: tuple[float, ...] = ()
    fail_on_timeout: bool = False
    has_retry_until: bool = False
    """There is a ``retry_until``, which beats ``tries``."""
    expired: bool = False
    """It has passed."""
    left: float = math.inf
    """Seconds until it passes."""


class Decision(NamedTuple):
    """The answer. `delay` is meant for RETRY."""

    action: Action
    delay: float = 0.0


def decide(ending: Ending, facts: Facts, delay: float = 0.0) -> Decision:
    """Decide about an attempt; `delay` is what ``release(delay)`` asked for."""
    if ending in (Ending.RETURNED, Ending.DELETED, Ending.LOST):
        return Decision(Action.DONE)
    if ending in (Ending.FAILED, Ending.EXHAUSTED):
        return Decision(Action.FAIL)
    if ending is Ending.RELEASED:
        return Decision(Action.RETRY, delay)
    if ending is Ending.INTERRUPTED:
        over = facts.interruptions > facts.max_interruptions
        return Decision(Action.FAIL if over else Action.INTERRUPT)
    if ending is Ending.TIMED_OUT and facts.fail_on_timeout:
        return Decision(Action.FAIL)
    if _spent(facts):
        return Decision(Action.FAIL)
    return Decision(Action.RETRY, backoff_for(facts.backoff, facts.attempt))


def _spent(facts: Facts) -> bool:
    """Whether no attempt may follow."""
    if facts.max_exceptions is not None and facts.exceptions >= facts.max_exceptions:
        return True
    if facts.has_retry_until:
        # What would begin too late is over now, with its own error for a reason.
        return facts.expired or backoff_for(facts.backoff, facts.attempt) >= facts.left
    return facts.tries > 0 and facts.attempt >= facts.tries


def exhausted(facts: Facts) -> bool:
    """Whether an attempt that has been reserved must not begin."""
    if facts.has_retry_until:
        return facts.expired
    return facts.tries > 0 and facts.attempt > facts.tries


def backoff_for(backoff: tuple[float, ...], attempt: int) -> float:
    """Seconds to wait after `attempt` (from 1): the list's entry for it, the last one repeating."""
    if not backoff:
        return 0.0
    return backoff[min(attempt, len(backoff)) - 1]
