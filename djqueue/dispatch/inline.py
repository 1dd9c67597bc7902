"""Running a job in this process: at once, or after the response of the request that dispatches it.

The payload makes the same round trip as on any other connection, so that what works here works on a
worker. Nothing is retried, and no failed row is stored.

The synchronous code of a request runs in one thread: the server's under WSGI, one that asgiref
assigns under ASGI. A dispatch is synchronous code, so the jobs that wait for a response are kept
per thread. Code in any other thread counts as outside the request. They are in memory only: when
the process ends before they have run, they are lost.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections, transaction

from djqueue.compat import has_request_thread
from djqueue.context import without
from djqueue.drivers.base import OutgoingJob, Reservation
from djqueue.finish.announce import announce
from djqueue.finish.notices import FreeSlots, RemovePayloads, notices_of
from djqueue.payload.links import may_be_linked
from djqueue.payload.payload import limits_of
from djqueue.results import rows as results
from djqueue.results.running import KeepsResults, Results
from djqueue.runner.attempt import Attempt, Binding
from djqueue.runner.decision import DONE, FAIL, Action
from djqueue.runner.encrypted.errors import public_error
from djqueue.runner.outcome import End
from djqueue.runner.rules import Rules
from djqueue.runner.runner import Runner

__all__ = [
    "AfterResponse",
    "after_response",
    "follow_requests",
    "run_attempt",
    "run_dispatched",
    "run_here",
]

logger = logging.getLogger("djqueue")


def run_here(job: OutgoingJob, connection: str) -> Any:
    """Run `job` now, for ``dispatch_sync()``. Returns what ``handle()`` returned; raises what it
    raised.
    """
    return without(lambda: _run(job, connection, None))


def run_dispatched(job: OutgoingJob, connection: str) -> None:
    """Run `job` now, for the ``sync`` driver. Raises what ``handle()`` raised, after its result is
    stored, where that is kept.
    """
    without(lambda: _run(job, connection, KeepsResults()))


def _run(job: OutgoingJob, connection: str, binding: Binding | None) -> Any:
    end, attempt = _attempt(job, connection, binding, keeps_result=binding is not None)
    if (error := _error(end, attempt)) is not None:
        raise error
    return attempt.value  # also after release(): there is no queue to go back to


def run_attempt(
    job: OutgoingJob, connection: str, binding: Binding
) -> tuple[End, BaseException | None]:
    """Run `job` now. Returns its end, and what it raised, if it failed."""
    end, attempt = without(lambda: _attempt(job, connection, binding, keeps_result=False))
    return end, _error(end, attempt)


def _attempt(
    job: OutgoingJob, connection: str, binding: Binding | None, *, keeps_result: bool
) -> tuple[End, Attempt]:
    runner = Runner(connection, Rules(unknown_grace=0, timeout=0), binding=binding)
    runner.teller.logs = False
    reservation = Reservation(job.id, job.queue, job.name, job.payload, 1, 0, "", None)
    attempt = runner.attempt(reservation)
    end = End(reservation, runner.run(attempt))
    if keeps_result and may_be_linked(job.payload):
        _store_result(end, _error(end, attempt))
    for notice in notices_of([end]):  # there is no store to tell before
        if not isinstance(notice, RemovePayloads | FreeSlots):
            announce(notice, runner.teller, connection, attempt.error)
    return end, attempt


def _store_result(end: End, error: BaseException | None) -> None:
    """Nothing repeats the job: what is no success is its failure."""
    outcome = end.outcome._replace(decision=DONE if error is None else FAIL)
    end, follower, alias = end._replace(outcome=outcome), Results(), results.store()
    if alias is not None and follower.wants(end) and not connections[alias].needs_rollback:
        with transaction.atomic(using=alias):
            follower.within([end], alias)


def _error(end: End, attempt: Attempt) -> BaseException | None:
    return None if end.outcome.decision.action is Action.DONE else attempt.error


Run = Callable[[OutgoingJob, str], None]
"""Runs a job of a connection."""


class AfterResponse(threading.local):
    """The jobs that wait for the end of this thread's request."""

    def __init__(self) -> None:
        self._waiting: list[tuple[OutgoingJob, str, Run]] | None = None

    def run(self, job: OutgoingJob, connection: str, run: Run = run_dispatched) -> None:
        """Run `job` with `run` when the response has been sent; at once where there is no request.

        Its error is logged, never raised: the code that dispatched it has gone on.
        """
        if self._waiting is None:
            _run_logged(job, connection, run)
        else:
            self._waiting.append((job, connection, run))

    def started(self, environ: object = None, **_: Any) -> None:
        """Begin to collect jobs: a request starts in this thread."""
        self.finished()  # for an earlier response that its server never closed
        # Django's async test client ends its requests in another thread: nothing would run the
        # jobs.
        if environ is not None or has_request_thread():
            self._waiting = []

    def finished(self, **_: Any) -> None:
        """Run the collected jobs: the response of this thread's request has been sent."""
        if not self._waiting:
            self._waiting = None
            return
        try:
            while self._waiting:  # a job may dispatch others
                _run_logged(*self._waiting.pop(0))
        finally:
            if not self._waiting:
                self._waiting = None
            # Django has closed old connections before the jobs ran.
            close_old_connections()


after_response = AfterResponse()


def follow_requests() -> None:
    """Connect to Django's request signals. A second call changes nothing."""
    request_started.connect(_started, dispatch_uid="djqueue.after_response")
    request_finished.connect(_finished, dispatch_uid="djqueue.after_response")


def _started(**arguments: Any) -> None:
    after_response.started(**arguments)


def _finished(**arguments: Any) -> None:
    after_response.finished()


def _run_logged(job: OutgoingJob, connection: str, run: Run) -> None:
    try:
        run(job, connection)
    except Exception as error:
        logger.error(
            "%s %s failed on connection %s, which keeps no jobs: it will not be retried.",
            job.name,
            job.id,
            connection,
            exc_info=public_error(error, hides=limits_of(job.payload).encrypted),
        )
