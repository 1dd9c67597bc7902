"""Django signals of djqueue:

    @receiver(job_failed)
    def tell_the_team(sender, job, error, **kwargs): ...

The sender is the job's class, or None where no running code has it. That of `batch_finished` is
`JobBatch`; those of signals of workers and queues are classes of djqueue. ``job`` has ``id``,
``name``, ``queue``, ``connection`` and ``attempt``; ``error`` is an exception; ``delay`` and
``duration`` are in seconds. An error in a receiver is logged and has no other effect. Receivers
should accept ``**kwargs``: later versions may pass more.
"""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import Signal

__all__ = [
    "announce",
    "batch_finished",
    "job_cancelled",
    "job_errored",
    "job_failed",
    "job_queued",
    "job_released",
    "job_started",
    "job_succeeded",
    "job_timed_out",
    "queue_busy",
    "queue_failed_over",
    "worker_looping",
    "worker_started",
    "worker_stopping",
]

logger = logging.getLogger("djqueue")

job_queued = Signal()
"""A job was handed to its store. ``job``, ``delay``."""

job_started = Signal()
"""An attempt begins. ``job``."""

job_succeeded = Signal()
"""A job is done, and its store knows it. ``job``, ``duration``."""

job_errored = Signal()
"""An attempt ended with an exception; ``job_released`` or ``job_failed`` follows. ``job``,
``error``, ``duration``."""

job_released = Signal()
"""A job was put back into its queue. ``job``, ``delay``, and ``error`` if that is the reason."""

job_failed = Signal()
"""A job was given up, and its failed row is stored. ``job``, ``error``."""

job_timed_out = Signal()
"""An attempt ran longer than its timeout. ``job``, ``error``, ``duration``."""

job_cancelled = Signal()
"""A job was cancelled. ``job``."""

batch_finished = Signal()
"""No member of a batch is pending for the first time, and that is stored. ``batch``. The sender is
`JobBatch`."""

worker_started = Signal()
"""A worker is about to reserve its first job. ``worker``: its name, ``connection``, ``queues``."""

worker_looping = Signal()
"""A worker is about to look for jobs. ``worker``, ``connection``, ``queues``."""

worker_stopping = Signal()
"""A worker ends and holds no jobs. ``worker``, ``connection``, ``queues``, ``reason``."""

queue_failed_over = Signal()
"""A failover connection passed jobs on because a member failed. The sender is the driver's class.
``connection``: its name; ``failed`` and ``used``: names of members; ``error``: a
`djqueue.errors.QueueUnavailable` whose ``ambiguous`` says whether the jobs may run twice."""

queue_busy = Signal()
"""``queue_monitor`` found too many jobs waiting, or a job waiting too long. ``connection``,
``queue``, ``size``, ``oldest``: the longest wait in seconds, or None where nothing waits."""


def announce(signal: Signal, sender: Any, **arguments: Any) -> None:
    """Send `signal`. Errors of receivers are logged, never raised. Nearly free without receivers.

    Call ``signal.has_listeners(sender)`` before computing arguments that are costly.
    """
    if not signal.receivers:
        return
    try:
        answers = signal.send_robust(sender, **arguments)
    except Exception:  # an `async def` receiver cannot be called from an event loop's own thread
        logger.exception("The %s signal could not be sent. The job is not affected.", _name(signal))
        return
    for receiver, answer in answers:
        if isinstance(answer, Exception):
            logger.error(
                "A receiver of the %s signal raised %s: %r. The job is not affected.",
                _name(signal),
                type(answer).__name__,
                receiver,
                exc_info=answer,
            )


def _name(signal: Signal) -> str:
    for name, value in globals().items():
        if value is signal:
            return name
    return repr(signal)
