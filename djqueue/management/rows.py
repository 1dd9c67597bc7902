"""Jobs, failed jobs and queues as the JSON objects that commands print. Their keys are fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.text.masking import masked_text

if TYPE_CHECKING:
    from djqueue.models import FailedJob
    from djqueue.operations.selecting import Located
    from djqueue.operations.status import QueueStatus

__all__ = ["failed_object", "job_object", "queue_object"]

MOST = 4_000
"""Characters of a message that a listing has. What workers write is shorter."""


def job_object(found: Located) -> dict[str, Any]:
    """A stored job."""
    job = found.job
    return {
        "id": job.id,
        "name": job.name,
        "queue": job.queue,
        "connection": found.connection,
        "state": str(job.state),
        "attempts": job.attempts,
        "available_at": job.available_at,
        "reserved_at": job.reserved_at,
        "created_at": job.created_at,
    }


def failed_object(row: FailedJob) -> dict[str, Any]:
    """A failed job."""
    return {
        "id": str(row.uuid),
        "row": row.pk,
        "name": row.name,
        "queue": row.queue,
        "connection": row.connection,
        "attempts": row.attempts,
        "exception_class": row.exception_class,
        "exception_message": masked_text(row.exception_message, MOST),
        "failed_at": row.failed_at,
    }


def queue_object(one: QueueStatus) -> dict[str, Any]:
    """A queue."""
    return {
        "connection": one.connection,
        "queue": one.queue,
        "waiting": one.counts.waiting,
        "delayed": one.counts.delayed,
        "reserved": one.counts.reserved,
        "oldest_at": one.counts.oldest_at,
        "paused": one.paused,
    }
