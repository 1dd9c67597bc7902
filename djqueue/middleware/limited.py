"""Jobs that limits hold back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from djqueue.errors import LimitReached
from djqueue.limits import definitions
from djqueue.limits.funnel import funnel
from djqueue.limits.throttle import throttle
from djqueue.payload.keyring import hidden_key

if TYPE_CHECKING:
    from djqueue.limits.waiting import Guard
    from djqueue.middleware.pipeline import Next
    from djqueue.runner.current import CurrentJob

__all__ = ["Key", "RateLimited", "WithoutOverlapping", "key_of"]

Key = str | Callable[["CurrentJob"], object]
"""A text, or a function of the job that gives one."""


def key_of(key: Key, job: CurrentJob) -> str:
    """The text of a key for that job; of an encrypted one a digest of what a function gives."""
    if not callable(key):
        return key
    return hidden_key(str(key(job))) if job.is_encrypted else str(key(job))


@dataclass(frozen=True)
class RateLimited:
    """Holds a job back while the limit of that name is reached; see `djqueue.limits.define`.

    The job goes back into its queue until a use is free. With `skip` it ends without running.
    """

    name: str
    skip: bool = False

    def __call__(self, job: CurrentJob, next: Next) -> Any:
        rate = definitions.find(self.name).rate_of(job)
        if rate is None:
            return next(job)
        return _within(throttle.at(rate), job, next, skip=self.skip)


@dataclass(frozen=True)
class WithoutOverlapping:
    """Lets one job of its name with this key run at once; with `shared`, one of any name.

    The others go back into the queue meanwhile. With `skip` they end without running.
    """

    key: Key = ""
    shared: bool = False
    skip: bool = False

    def __call__(self, job: CurrentJob, next: Next) -> Any:
        key = key_of(self.key, job)
        if job.is_encrypted and key and not (self.shared or callable(self.key)):
            key = hidden_key(key)  # middleware() may have made it of an argument
        guard = funnel(f"overlap:{key}" if self.shared else f"overlap:{job.name}:{key}", 1)
        return _within(guard, job, next, skip=self.skip)


def _within(guard: Guard, job: CurrentJob, next: Next, *, skip: bool) -> Any:
    try:
        guard.__enter__()
    except LimitReached:
        if skip:
            return None
        raise
    with guard.entered():
        return next(job)
