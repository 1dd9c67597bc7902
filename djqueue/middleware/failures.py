"""What follows from the exceptions of a job."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from djqueue.errors import LimitReached
from djqueue.limits.store import store
from djqueue.limits.throttle import rate
from djqueue.limits.waiting import retry_in
from djqueue.middleware.limited import Key, key_of

if TYPE_CHECKING:
    from djqueue.middleware.pipeline import Next
    from djqueue.runner.current import CurrentJob

__all__ = ["FailOnException", "ThrottlesExceptions"]

APART = 0.1
"""Seconds between two jobs that try whether what has failed works again."""


class FailOnException:
    """Gives a job up at once for exceptions of these classes, whatever `tries` says.

    As the option ``fail_on=(…)``, for where it is given to many jobs. `when` narrows it: a function
    of the exception.
    """

    def __init__(
        self,
        *types: type[Exception],
        when: Callable[[Exception], object] | None = None,
    ) -> None:
        self._types = types or (Exception,)
        self._when = when

    def __call__(self, job: CurrentJob, next: Next) -> Any:
        try:
            return next(job)
        except LimitReached:
            raise
        except self._types as error:
            if self._when is None or self._when(error):
                job.fail(error)
            raise


class ThrottlesExceptions:
    """Holds jobs back after `max` exceptions within `per` seconds, as a fuse does.

    What they call is probably down: until the first of those exceptions is `per` seconds old, jobs
    go back into their queue without running, which is no attempt. An exception itself is what it
    always is: `tries` and `backoff` say what follows. A success forgets those before it.

    Jobs of one name have one fuse; `by`, a text or a function of the job, shares or splits it.
    `only` names the classes that count.
    """

    def __init__(
        self,
        max: int = 10,
        per: float | timedelta = 600,
        *,
        by: Key | None = None,
        only: tuple[type[Exception], ...] = (Exception,),
    ) -> None:
        self._max = max
        self._by = by
        self._only = only
        self._per = rate("exceptions", max, per).every

    def __call__(self, job: CurrentJob, next: Next) -> Any:
        key = job.name if self._by is None else key_of(self._by, job)
        seen = rate(f"exceptions:{key}", self._max, self._per)
        wait = store().look(seen)
        if wait > 0:
            wait = retry_in(seen.name, wait, APART)
            raise LimitReached(
                f"{job.name} is held back for {wait:.3g} s: {self._max} exceptions were raised"
                f" within {self._per:g} s.",
                wait,
            )
        has_raised = store().used(seen)
        try:
            value = next(job)
        except LimitReached:
            raise
        except self._only:
            store().take(seen)
            raise
        if has_raised:
            store().clear(seen.name)
        return value
