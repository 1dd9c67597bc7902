"""What runs around ``handle()``: callables of the running job and of what comes next.

    def audit(job, next):
        with note(job.id):
            return next(job)

    class SendMail(Job, middleware=[RateLimited("mail"), audit]): ...

``next(job)`` gives the value of ``handle()``. One that does not call it skips the job, and
``job.release()`` and ``job.fail()`` decide otherwise. Those of the setting ``MIDDLEWARE`` come
first, around every job. They run in the process of the job, within its timeout and transaction.
"""

from __future__ import annotations

from djqueue.middleware.conditions import Release, Skip, SkipIfBatchCancelled
from djqueue.middleware.failures import FailOnException, ThrottlesExceptions
from djqueue.middleware.limited import RateLimited, WithoutOverlapping

__all__ = [
    "FailOnException",
    "RateLimited",
    "Release",
    "Skip",
    "SkipIfBatchCancelled",
    "ThrottlesExceptions",
    "WithoutOverlapping",
]
