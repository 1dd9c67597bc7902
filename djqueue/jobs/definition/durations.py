"""``delay`` and ``retry_until``: seconds, a `timedelta`, or a moment."""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta
from typing import Any

from djqueue.conf.kinds import LONGEST

__all__ = ["LONGEST", "When", "check_when", "seconds_until"]

When = float | timedelta | datetime
"""Seconds or a `timedelta`, counted from the dispatch, or an aware `datetime`."""


def check_when(value: Any) -> When:
    """Return `value` if it is a valid `When`. Raises `ValueError`, which says what is expected."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError(
                "an aware datetime: this one is naive, so its time zone is unknown. "
                "django.utils.timezone.make_aware() converts it"
            )
        if _timestamp(value) - time.time() > LONGEST:
            raise ValueError(
                f"at most {LONGEST} seconds (68 years) from now; do not dispatch a job that is "
                "never to run"
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
    """Return the seconds from `now` (since the epoch) until `when`; 0 for a moment in the past."""
    if isinstance(when, datetime):
        return max(0.0, _timestamp(when) - now)
    return when.total_seconds() if isinstance(when, timedelta) else float(when)
