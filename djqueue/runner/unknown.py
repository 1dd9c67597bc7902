"""A job that cannot be run yet: its name is unknown here, since a deploy may be on its way, or its
arguments cannot be fetched. It is held back.
"""

from __future__ import annotations

import time
from datetime import datetime

from djqueue.drivers.base import Reservation
from djqueue.errors import QueueError, UnknownJob
from djqueue.payload import history
from djqueue.runner.decision import Action, Decision, Ending
from djqueue.runner.outcome import Outcome, report

KIND = "unknown"
AGAIN = 15.0
"""Seconds until another worker, which may be newer, is asked."""

_IMPORTED = (
    "Workers import the jobs.py of each installed app: if it is in another module, as views.py,"
    " import it from there."
)


def hold_back(reservation: Reservation, error: QueueError, grace: float) -> Outcome:
    """Release it uncharged until `grace` seconds after it was first held back; then fail it."""
    text = reservation.history
    if isinstance(error, UnknownJob):
        error = UnknownJob(f"{error} {_IMPORTED}")
    since = _first_seen(text)
    if since is not None and time.time() - since >= grace:
        text = _remember(reservation, error)
        return Outcome(Ending.FAILED, Decision(Action.FAIL), report(error), text)
    if since is None:
        if grace <= 0:
            return Outcome(
                Ending.FAILED, Decision(Action.FAIL), report(error), _remember(reservation, error)
            )
        text = _remember(reservation, error)
    delay = min(AGAIN, grace)
    decision = Decision(Action.RETRY, delay)
    return Outcome(Ending.RELEASED, decision, report(error), text, charged=False)


def _remember(reservation: Reservation, error: QueueError) -> str:
    described = report(error)
    return history.add(
        reservation.history,
        reservation.attempt,
        KIND,
        described.class_name,
        described.message,
        error=False,
    )


def _first_seen(text: str) -> float | None:
    for entry in history.read(text).attempts:
        if entry.get("kind") == KIND:
            try:
                return datetime.fromisoformat(str(entry["at"])).timestamp()
            except (KeyError, ValueError):
                return None
    return None
