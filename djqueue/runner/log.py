"""Failures of jobs, in Python's `logging`: what reports errors from there reports these too.

Each record has ``job_id``, ``job_name``, ``queue``, ``connection`` and ``attempt``, and the
exception as ``exc_info``. An attempt that is to be followed by another is a WARNING, a job that was
given up an ERROR: one record each.
"""

from __future__ import annotations

import logging

from djqueue.errors import LimitReached
from djqueue.runner.current import CurrentJob
from djqueue.runner.outcome import exception_of, report
from djqueue.text.printable import one_line

logger = logging.getLogger("djqueue.jobs")
# Without a logging configuration, the worker's lines say it, and stderr stays empty.
logger.addHandler(logging.NullHandler())


def is_handled(level: int) -> bool:
    """Return whether anything handles a record of that level. Error trackers replace
    ``Logger.callHandlers`` instead of adding a handler.
    """
    if not logger.isEnabledFor(level):
        return False
    code = getattr(type(logger).callHandlers, "__code__", None)
    if getattr(code, "co_filename", "") != logging.Handler.handle.__code__.co_filename:
        return True
    each: logging.Logger | None = logger
    while each is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in each.handlers):
            return True
        each = each.parent if each.propagate else None
    return False


def will_be_retried(job: CurrentJob, error: BaseException, delay: float) -> None:
    """Log that an attempt failed, and another follows."""
    logger.warning(
        "%s (attempt %d of job %s) failed with %s, and will be tried again in %g s.",
        one_line(job.name),
        job.attempt,
        job.id,
        one_line(type(error).__name__),
        delay,
        exc_info=_shown(error),
        extra=_facts(job),
    )


def held_back(job: CurrentJob, error: LimitReached) -> None:
    """Log that a limit keeps the job from running now."""
    logger.info(
        "%s (job %s) is held back for %.3g s: %s",
        one_line(job.name),
        job.id,
        error.retry_in,
        one_line(str(error)),
        extra=_facts(job),
    )


def skipped(job: CurrentJob) -> None:
    """Log that a middleware has ended the job without running it."""
    logger.info(
        "%s (job %s) was skipped by its middleware.", one_line(job.name), job.id, extra=_facts(job)
    )


def given_up(job: CurrentJob, error: BaseException) -> None:
    """Log that a job has failed, and its failed row is stored."""
    logger.error(
        "%s (job %s) was given up after attempt %d: %s.",
        one_line(job.name),
        job.id,
        job.attempt,
        one_line(type(error).__name__),
        exc_info=_shown(error),
        extra=_facts(job),
    )


def raised_after_commit(job: CurrentJob, error: BaseException) -> None:
    """Log that an atomic job has committed, and a function that it gave to ``on_commit()``
    raised.
    """
    logger.warning(
        "%s (job %s) is done and committed, but a function it had given to on_commit() raised %s."
        " Those behind it were not called: Django calls them in order and stops at an error, unless"
        " they are registered with robust=True.",
        one_line(job.name),
        job.id,
        one_line(type(error).__name__),
        exc_info=_shown(error),
        extra=_facts(job),
    )


def _shown(error: BaseException) -> BaseException:
    """Return the exception without its secrets: its class, its text masked, its traceback as a
    text.
    """
    return error if error.__traceback__ is None else exception_of(report(error))


def _facts(job: CurrentJob) -> dict[str, object]:
    return {
        "job_id": job.id,
        "job_name": job.name,
        "queue": job.queue,
        "connection": job.connection,
        "attempt": job.attempt,
    }
