"""Which queues there are, to notice a mistyped name."""

from __future__ import annotations

from django.db import DatabaseError

from djqueue.conf import did_you_mean, settings
from djqueue.dispatch.connections import queues
from djqueue.errors import QueueError
from djqueue.jobs import registry
from djqueue.operations import failed_jobs
from djqueue.operations.reports.queues import status

__all__ = ["mistyped", "mistyped_failed", "unknown_queue"]


def mistyped(connection: str | None, queue: str | None) -> str:
    """Return `unknown_queue` behind a space, where a queue was named."""
    if queue is None:
        return ""
    found = filter(None, (unknown_queue(each, queue) for each in queues[connection].members))
    return "".join(f" {text}" for text in found)


def unknown_queue(connection: str, queue: str) -> str:
    """Return a remark about a queue that holds nothing, that no code names and that no worker
    reads. Return an empty text for any other queue, and if the store does not answer.
    """
    named = _named(connection)
    if queue in named:
        return ""
    try:
        asked = queues[connection]
        held = asked.inspector.queues()
        counts = asked.inspector.counts(queue)
        read = {name for worker in status.alive(asked) for name in worker.queues.split(",")}
    except (QueueError, DatabaseError):
        return ""
    if any(counts[:3]) or queue in held or queue in read:
        return ""
    near = did_you_mean(queue, {*named, *held, *read})
    return (
        f"{connection}:{queue} holds nothing, no job or route names it, and no worker reads it."
        f"{near}"
    )


def mistyped_failed(queue: str | None) -> str:
    """Return a remark, behind a space, about a queue of which no job has failed, and that no code
    names. Return an empty text for any other queue, and for None.
    """
    if queue is None:
        return ""
    named = _named(*settings().connections) | failed_jobs.queues()
    if queue in named:
        return ""
    return f' No job, route or failed job names the queue "{queue}".{did_you_mean(queue, named)}'


def _named(*connections: str) -> set[str]:
    """Return the queues that settings and jobs name."""
    ours = settings()
    found = {route.queue for route in ours.routes.values()}
    found |= {spec.options.queue for spec in registry.all()}
    found |= {ours.connections[each].queue for each in connections}
    return {name for name in found if name}
