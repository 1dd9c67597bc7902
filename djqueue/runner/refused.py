"""A job that was reserved although no attempt may follow: it is given up without being begun."""

from __future__ import annotations

import time

from djqueue.drivers.base import Reservation
from djqueue.errors import MaxAttemptsExceeded
from djqueue.payload import history
from djqueue.payload.payload import Payload
from djqueue.runner.decision import Action, Decision, Ending, Facts, exhausted
from djqueue.runner.outcome import ErrorReport, Outcome, exception_of, report
from djqueue.runner.rules import Rules


class NothingLeft(Exception):  # noqa: N818 - not an error, and never seen outside of this package
    """Ends an attempt before it begins. `outcome` is uncharged: nothing of the job has run."""

    def __init__(self, outcome: Outcome, reason: BaseException) -> None:
        super().__init__(str(reason))
        self.outcome = outcome
        self.reason = reason


def refuse_if_nothing_is_left(payload: Payload, reservation: Reservation, rules: Rules) -> None:
    """Raise `NothingLeft` where the tries are used up, or ``retry_until`` has passed."""
    facts = rules.facts(
        payload.head.limits,
        attempt=reservation.attempt,
        retry_until=payload.retry_until,
        now=time.time(),
    )
    if exhausted(facts):
        described = _described(payload.head.name, reservation, facts)
        outcome = Outcome(Ending.FAILED, Decision(Action.FAIL), described, charged=False)
        raise NothingLeft(outcome, exception_of(described))


def _described(name: str, reservation: Reservation, facts: Facts) -> ErrorReport:
    """The last error the job had; without one, that there was no time or no try for it."""
    ran = reservation.attempt - 1
    runs = f"after {ran} attempt{'' if ran == 1 else 's'}" if ran else "before its first attempt"
    if facts.has_retry_until:
        why = f"its retry_until had passed {runs}"
        advice = "Give `retry_until` more time, or have more workers read the queue."
    else:
        why = f"it had used up its {facts.tries} {'try' if facts.tries == 1 else 'tries'}"
        advice = "Raise `tries` on the job if it needs more."
    text = f"{name} was not begun again: {why}." if ran else f"{name} was not begun: {why}."
    last = history.last_error(reservation.history)
    if last is None:
        return report(MaxAttemptsExceeded(f"{text} {advice}"))
    return ErrorReport(
        last.class_name,
        last.message,
        f"{last.class_name}: {last.message}\n\nThat was attempt {last.attempt}, whose traceback is"
        f" not kept. {text} {advice}\n",
    )
