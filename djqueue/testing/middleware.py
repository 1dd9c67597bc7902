"""`run_middleware`: a middleware around a job, alone."""

from __future__ import annotations

import contextvars
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from djqueue.errors import LimitReached
from djqueue.jobs.definition.spec import spec_of
from djqueue.middleware.pipeline import Pipelines
from djqueue.runner.coroutines import run_coroutine
from djqueue.runner.current import CurrentJob, current
from djqueue.runner.decision import Ending
from djqueue.runner.timer import Timer

if TYPE_CHECKING:
    from djqueue.jobs.definition.options import Middleware
    from djqueue.jobs.job import Job

__all__ = ["MiddlewareRun", "run_middleware"]


@dataclass(frozen=True)
class MiddlewareRun:
    """What a middleware made of a job."""

    ran: bool
    """Whether ``handle()`` was called."""
    value: Any
    """What the middleware returned: usually what ``handle()`` did."""
    released: float | None
    """Seconds for which the job goes back into its queue; None: it does not."""
    failed: BaseException | None
    """Why the job is given up; None: it is not."""

    @property
    def skipped(self) -> bool:
        """Whether the job ends without having run."""
        return not self.ran and self.released is None and self.failed is None


def run_middleware(
    middleware: Middleware, job: Job, *, attempt: int = 1, queue: str = "default"
) -> MiddlewareRun:
    """Run `middleware`, and nothing else, around ``handle()`` of `job`, as a worker would.

        run = run_middleware(Skip.when(lambda job: job.instance.order.is_paid), Remind(order))
        assert run.skipped

    A `LimitReached` is a release. Any other exception is raised here, unless it failed
    the job.
    """
    return contextvars.copy_context().run(_run, middleware, job, attempt, queue)


def _run(middleware: Middleware, instance: Job, attempt: int, queue: str) -> MiddlewareRun:
    definition = spec_of(instance)
    job = CurrentJob(str(uuid.uuid4()), definition.name, queue, "testing", attempt)
    job.instance = instance
    current.set(job)
    value: Any = None
    try:
        value = _finish(Pipelines(_finish).around(definition, [middleware])(job))
    except LimitReached as reached:
        if job.requested is None:
            job.release(reached.retry_in)
    except BaseException:
        if job.requested is not Ending.FAILED:
            raise
    released = job.delay if job.requested is Ending.RELEASED else None
    failed = job.error if job.requested is Ending.FAILED else None
    return MiddlewareRun(job.is_begun, value, released, failed)


def _finish(value: Any) -> Any:
    return run_coroutine(value, Timer())
