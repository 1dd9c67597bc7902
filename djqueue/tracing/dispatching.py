"""The span of a dispatch, where spans are made."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from djqueue.dispatch.route import plan_of
from djqueue.runner.encrypted.errors import public_error
from djqueue.runner.outcome import report
from djqueue.tracing.spans import NO_SPAN
from djqueue.tracing.tracing import tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from djqueue.dispatch.dispatched import DispatchedJob
    from djqueue.jobs.definition.spec import JobInstance, JobSpec
    from djqueue.tracing.spans import Span

__all__ = ["send_traced", "sending"]


def send_traced(
    send: Callable[[JobInstance, JobSpec], DispatchedJob[Any]], job: JobInstance, spec: JobSpec
) -> DispatchedJob[Any]:
    """Dispatch `job` with `send`, within a span."""
    plan = plan_of(spec, job._using)
    with sending(plan.connection, plan.queue, hides=spec.options.encrypted) as span:
        dispatched = send(job, spec)
        span.tell(id=dispatched.id, job=spec.name)
    return dispatched


@contextmanager
def sending(
    connection: str | None = None, queue: str | None = None, *, hides: bool = False
) -> Iterator[Span]:
    """Open the span of a dispatch; without a queue that of several jobs. The text of an error is
    left out with `hides`, and if it is that of an encrypted job that ran here.
    """
    tracer = tracing.tracer
    if tracer is None:
        yield NO_SPAN
        return
    with tracer.sending(connection, queue) as span:
        try:
            yield span
        except Exception as error:
            described = report(public_error(error, hides=hides))
            span.failed(described.class_name, described.message, described.traceback)
            raise
