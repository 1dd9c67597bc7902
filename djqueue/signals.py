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
import traceback
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


class _Signal(Signal):
    """A signal whose receivers' errors are logged here alone, where those of encrypted jobs are
    known.
    """

    def _log_robust_failure(self, receiver: object, err: Exception) -> None:
        """Leave out Django's record of the error, which has its words."""


job_queued = _Signal()
"""A job was handed to its store. ``job``, ``delay``."""

job_started = _Signal()
"""An attempt begins. ``job``."""

job_succeeded = _Signal()
"""A job is done, and its store knows it. ``job``, ``duration``."""

job_errored = _Signal()
"""An attempt ended with an exception; ``job_released`` or ``job_failed`` follows. ``job``,
``error``, ``duration``."""

job_released = _Signal()
"""A job was put back into its queue. ``job``, ``delay``, and ``error`` if that is the reason."""

job_failed = _Signal()
"""A job was given up, and its failed row is stored. ``job``, ``error``."""

job_timed_out = _Signal()
"""An attempt ran longer than its timeout. ``job``, ``error``, ``duration``."""

job_cancelled = _Signal()
"""A job was cancelled. ``job``."""

batch_finished = _Signal()
"""No member of a batch is pending for the first time, and that is stored. ``batch``. The sender is
`JobBatch`."""

worker_started = _Signal()
"""A worker is about to reserve its first job. ``worker``: its name, ``connection``, ``queues``."""

worker_looping = _Signal()
"""A worker is about to look for jobs. ``worker``, ``connection``, ``queues``."""

worker_stopping = _Signal()
"""A worker ends and holds no jobs. ``worker``, ``connection``, ``queues``, ``reason``."""

queue_failed_over = _Signal()
"""A failover connection passed jobs on because a member failed. The sender is the driver's class.
``connection``: its name; ``failed`` and ``used``: names of members; ``error``: a
`djqueue.errors.QueueUnavailable` whose ``ambiguous`` says whether the jobs may run twice."""

queue_busy = _Signal()
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
            hides = getattr(arguments.get("job"), "is_encrypted", False)
            logger.error(
                "A receiver of the %s signal raised %s: %r. The job is not affected.%s",
                _name(signal),
                type(answer).__name__,
                receiver,
                _frames(answer) if hides else "",
                exc_info=None if hides else answer,
            )


def _frames(error: Exception) -> str:
    """Return where it was raised, without its words: the job is encrypted."""
    return "\n" + "".join(traceback.format_tb(error.__traceback__)).rstrip()


def _name(signal: Signal) -> str:
    for name, value in globals().items():
        if value is signal:
            return name
    return repr(signal)
