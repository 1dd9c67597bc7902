"""The judge of every end: what follows from how an attempt ended, and what is remembered of it.

The process that sees an end describes it: the runner in the job's own process, and
`djqueue.finish.deaths` for a process that cannot speak any more.
"""

from __future__ import annotations

import random
from typing import Protocol

from djqueue.drivers.base import Reservation
from djqueue.payload import history
from djqueue.payload.backoff import Backoff
from djqueue.payload.history import History
from djqueue.payload.payload import Limits
from djqueue.runner.decision import RELEASED, Action, Ending, Facts, decide
from djqueue.runner.encrypted.errors import hidden_report, short_token
from djqueue.runner.outcome import ErrorReport, Outcome, report
from djqueue.runner.rules import Rules
from djqueue.text.marks import is_marked


class Case(Protocol):
    """What is known of a job when an attempt of it has ended."""

    @property
    def reservation(self) -> Reservation:
        """The job, as it was reserved."""

    @property
    def limits(self) -> Limits:
        """The limits in its payload."""

    @property
    def retry_until(self) -> float | None:
        """Seconds since the epoch; None if there is none, or the payload cannot be read."""

    @property
    def delay(self) -> float:
        """The seconds that ``release()`` was given."""

    @property
    def is_uncharged(self) -> bool:
        """Whether a release is no attempt, since the worker stops."""

    @property
    def duration(self) -> float:
        """The duration in seconds."""

    @property
    def hides(self) -> bool:
        """Whether the words of an exception may repeat what is encrypted."""

    def may_retry(self, error: object) -> bool:
        """Return whether the job's options let it be tried again after that exception."""

    def own_backoff(self) -> Backoff | None:
        """Return what the job's own ``backoff()`` says now; None if it has none, or could not be
        made.
        """


def conclude(
    case: Case, ending: Ending, error: BaseException | ErrorReport | None, rules: Rules, now: float
) -> Outcome:
    """Return what follows from an attempt with that ending and error. `now` is in seconds since the
    epoch.
    """
    if error is None:  # it returned, or asked for its ending itself
        charged = ending is not RELEASED or not case.is_uncharged
        decision = decide(ending, delay=case.delay)
        return Outcome(ending, decision, None, None, False, charged, case.duration)
    described = error if isinstance(error, ErrorReport) else _described(error, case)
    past = history.read(case.reservation.history)
    facts = _facts(case, ending, past, rules, now)
    if ending is Ending.RAISED:
        facts = facts._replace(may_retry=case.may_retry(error))
    decision = decide(ending, facts, case.delay)
    if ending is Ending.LOST:  # there is nothing left to settle
        return Outcome(ending, decision, described, settled=True, duration=case.duration)
    if decision.action is Action.DONE:
        return Outcome(ending, decision, duration=case.duration)
    text = None
    if _is_remembered(ending, facts, decision.action):
        entry = _entry(case, ending, described)
        if entry.is_error and described.encrypted and isinstance(error, BaseException):
            entry = entry._replace(encrypted=short_token(error, case.reservation))
        text = history.add(past, entry, instead=ending is Ending.HELD_BACK)
    if decision.action is Action.FAIL and ending in _INTERRUPTIONS:
        described = _too_often(case, facts, described)
    charged = _is_charged(case, ending, decision.action)
    return Outcome(ending, decision, described, text, charged=charged, duration=case.duration)


def _described(error: BaseException, case: Case) -> ErrorReport:
    """Describe an exception; without its words if those are of an encrypted job, of this one or of
    one that ran inside it.
    """
    hides = case.hides or is_marked(error)
    return hidden_report(error, case.reservation) if hides else report(error)


_INTERRUPTIONS = (Ending.INTERRUPTED, Ending.STOPPED)
_TRIED = (Ending.RAISED, Ending.TIMED_OUT, Ending.DIED)
_KINDS = {Ending.STOPPED: Ending.INTERRUPTED, Ending.MISSING: Ending.FAILED}
"""What an ending is called in the history, where that is not its own name."""


def _facts(case: Case, ending: Ending, past: History, rules: Rules, now: float) -> Facts:
    reservation = case.reservation
    facts = rules.facts(case.limits, reservation.attempt, case.retry_until, now)
    counted = reservation.interruptions - past.stopped + (ending is Ending.INTERRUPTED)
    first = history.first_at(past, Ending.UNKNOWN.value) if ending is Ending.UNKNOWN else None
    own = case.own_backoff() if ending in _TRIED else None
    return facts._replace(
        exceptions=past.errors + (ending in _TRIED),
        interruptions=max(0, counted),
        backoff=facts.backoff if own is None else own,
        chance=random.random(),
        held_back=None if first is None else now - first,
    )


def _is_remembered(ending: Ending, facts: Facts, action: Action) -> bool:
    """Return whether the history gets an entry. An end that was no attempt has none. A job that is
    held back again and again has two.
    """
    if ending is Ending.UNKNOWN:
        return facts.held_back is None or action is Action.FAIL
    return ending is not Ending.EXHAUSTED


def _is_charged(case: Case, ending: Ending, action: Action) -> bool:
    if ending in (Ending.UNKNOWN, Ending.HELD_BACK):
        return action is Action.FAIL
    return ending is not Ending.EXHAUSTED and not (ending is Ending.RELEASED and case.is_uncharged)


def _entry(case: Case, ending: Ending, error: ErrorReport) -> history.Entry:
    return history.Entry(
        case.reservation.attempt,
        _KINDS.get(ending, ending).value,
        error.class_name,
        error.message,
        stopped=ending is Ending.STOPPED,
    )


def _too_often(case: Case, facts: Facts, last: ErrorReport) -> ErrorReport:
    message = (
        f"{case.reservation.name} was interrupted {facts.interruptions} times, more than its"
        f" max_interruptions of {facts.max_interruptions}. The last time: {last.message}"
    )
    return last._replace(message=message)
