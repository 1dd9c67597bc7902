"""``delay`` and ``retry_until``: seconds, a `timedelta`, or a moment."""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta
from typing import Any

from djqueue.payload.payload import LONGEST

__all__ = ["LONGEST", "When", "check_when", "seconds_until"]

When = float | timedelta | datetime
"""Seconds or a `timedelta`, counted from the dispatch, or an aware `datetime`."""


def check_when(value: Any) -> When:
    """Return `value` if it says when. ValueError tells what it should have been."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError(
                "an aware datetime: this one is naive, so it names no moment. "
                "django.utils.timezone.make_aware() makes one of it"
            )
        if _timestamp(value) - time.time() > LONGEST:
            raise ValueError(
                f"at most {LONGEST} seconds (68 years) from now; what is never to run should not "
                "be dispatched"
            )
        return value
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValueError("seconds, a timedelta or an aware datetime")
    if not math.isfinite(seconds) or not 0 <= seconds <= LONGEST:
        raise ValueError(f"between 0 and {LONGEST} seconds")
    return value  # type: ignore[no-any-return]


def _timestamp(moment: datetime) -> float:
    try:
        return moment.timestamp()
    except (OverflowError, ValueError, OSError):  # at an end of the calendar, in its zone
        return math.inf if moment.year > 1 else 0.0


def seconds_until(when: When, now: float) -> float:
    """Seconds from `now` (since the epoch) until `when`; 0 for a moment that has passed."""
    if isinstance(when, datetime):
        return max(0.0, _timestamp(when) - now)
    return when.total_seconds() if isinstance(when, timedelta) else float(when)
