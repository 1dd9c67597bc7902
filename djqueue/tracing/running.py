"""The span of an attempt, where spans are made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from djqueue.payload.encryption import TRACE
from djqueue.payload.parts import context_text
from djqueue.runner.decision import Action, Ending
from djqueue.tracing.spans import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from djqueue.runner.attempt import Attempt
    from djqueue.runner.outcome import Outcome
    from djqueue.tracing.spans import Tracer

__all__ = ["run_traced"]

_OUTCOMES = {
    Action.DONE: "done",
    Action.RETRY: "released",
    Action.FAIL: "failed",
    Action.INTERRUPT: "interrupted",
}
_BY_ENDING = {Ending.DELETED: "deleted", Ending.LOST: "lost"}
"""What the action does not tell."""


def run_traced(tracer: Tracer, run: Callable[[Attempt], Outcome], attempt: Attempt) -> Outcome:
    """Run an attempt with `run`, within a span that has its outcome."""
    id, queue, name, payload, number, *_ = attempt.reservation
    connection = attempt.job.connection
    headers = _headers(payload)
    delivery = Delivery(connection, queue, id, name, number, len(payload), headers)
    with tracer.processing(delivery) as span:
        outcome = run(attempt)
        ending, error = outcome.ending, outcome.error
        if error is not None and ending is not Ending.HELD_BACK:
            span.failed(error.class_name, error.message, error.traceback)
        span.tell(outcome=_BY_ENDING.get(ending) or _OUTCOMES[outcome.decision.action])
    return outcome


def _headers(payload: str) -> Mapping[str, Any]:
    """Return what the dispatch of a payload has carried into it, without parsing its arguments."""
    text = context_text(payload)
    found = json.loads(text).get(TRACE) if text else None
    return found if isinstance(found, dict) else {}
