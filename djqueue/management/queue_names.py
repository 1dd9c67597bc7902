"""Which queues there are, to notice a mistyped name."""

from __future__ import annotations

from django.db import DatabaseError

from djqueue.conf import did_you_mean, settings
from djqueue.dispatch.connections import queues
from djqueue.errors import QueueError
from djqueue.jobs import registry
from djqueue.operations import status

__all__ = ["unknown_queue"]


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


def _named(connection: str) -> set[str]:
    """Return the queues that settings and jobs name."""
    ours = settings()
    found = {route.queue for route in ours.routes.values()}
    found |= {spec.options.queue for spec in registry.all()}
    found.add(ours.connections[connection].queue)
    return {name for name in found if name}
