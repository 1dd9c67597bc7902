"""Defaults for jobs that set no limits of their own: the worker's options."""

from __future__ import annotations

import math
from dataclasses import dataclass

from djqueue.payload.backoff import Backoff
from djqueue.payload.payload import Limits
from djqueue.runner.decision import Facts

DEFAULT_TIMEOUT = 60.0


@dataclass(frozen=True)
class Rules:
    """Durations are in seconds; 0 tries and a timeout of 0 mean no limit."""

    tries: int = 1
    timeout: float = DEFAULT_TIMEOUT
    backoff: Backoff = ()
    unknown_grace: float = 600.0

    def timeout_of(self, limits: Limits) -> float:
        """Return the seconds that a job with `limits` may run; 0 means no limit."""
        return self.timeout if limits.timeout is None else limits.timeout

    def tries_of(self, limits: Limits) -> int:
        """Return the number of tries of a job with `limits`; 0 means no limit."""
        return self.tries if limits.tries is None else limits.tries

    def facts(self, limits: Limits, attempt: int, retry_until: float | None, now: float) -> Facts:
        """Return what is known of the attempt with that number before it begins. `now` and
        `retry_until` are seconds since the epoch.
        """
        return Facts(
            attempt=attempt,
            tries=self.tries_of(limits),
            max_exceptions=limits.max_exceptions,
            max_interruptions=limits.max_interruptions,
            backoff=self.backoff if limits.backoff is None else limits.backoff,
            jitter=limits.jitter,
            fail_on_timeout=limits.fail_on_timeout,
            has_retry_until=retry_until is not None,
            expired=retry_until is not None and now >= retry_until,
            left=math.inf if retry_until is None else retry_until - now,
            grace=self.unknown_grace,
            delete_when_missing=limits.delete_when_missing,
        )
