"""Jobs that are not to run, or not now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from djqueue.middleware.pipeline import Next
    from djqueue.runner.current import CurrentJob

__all__ = ["Release", "Skip", "SkipIfBatchCancelled"]

Condition = bool | Callable[["CurrentJob"], object]
"""True or False, or a function of the job that says it."""


def _holds(condition: Condition, job: CurrentJob) -> bool:
    return bool(condition(job) if callable(condition) else condition)


@dataclass(frozen=True)
class Skip:
    """Ends a job as if it were done, without running it: ``Skip.when(…)``, ``Skip.unless(…)``."""

    condition: Condition
    wanted: bool = True

    @classmethod
    def when(cls, condition: Condition) -> Skip:
        """Skip where the condition holds."""
        return cls(condition)

    @classmethod
    def unless(cls, condition: Condition) -> Skip:
        """Skip where it does not."""
        return cls(condition, wanted=False)

    def __call__(self, job: CurrentJob, next: Next) -> Any:
        return None if _holds(self.condition, job) is self.wanted else next(job)


@dataclass(frozen=True)
class Release:
    """Puts a job back into its queue, without running it: ``Release.when(…, delay=60)``. That is no
    attempt, and goes on until the condition changes or `retry_until` has passed.
    """

    condition: Condition
    delay: float | timedelta | datetime = 0
    wanted: bool = True

    @classmethod
    def when(cls, condition: Condition, delay: float | timedelta | datetime = 0) -> Release:
        """Release where the condition holds, for `delay`: as ``current_job().release(delay)``."""
        return cls(condition, delay)

    @classmethod
    def unless(cls, condition: Condition, delay: float | timedelta | datetime = 0) -> Release:
        """Release where it does not."""
        return cls(condition, delay, wanted=False)

    def __call__(self, job: CurrentJob, next: Next) -> Any:
        if _holds(self.condition, job) is self.wanted:
            return job.release(self.delay)
        return next(job)


@dataclass(frozen=True)
class SkipIfBatchCancelled:
    """Ends a member of a cancelled batch without running it. Others run."""

    def __call__(self, job: CurrentJob, next: Next) -> Any:
        batch = job.batch
        return None if batch is not None and batch.cancelled else next(job)
