"""Jobs that run after the response of the request that dispatched them, in the same process.

The synchronous code of a request runs in one thread: the server's under WSGI, one that asgiref
assigns under ASGI. A dispatch is synchronous code, so the waiting jobs are kept per thread. Code in
any other thread counts as outside the request.

The jobs are in memory only: when the process ends before they have run, they are lost.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from asgiref.sync import SyncToAsync
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from djqueue.dispatch.inline import run_here

if TYPE_CHECKING:
    from djqueue.drivers.base import OutgoingJob

__all__ = ["AfterResponse", "after_response"]

logger = logging.getLogger("djqueue")


class AfterResponse(threading.local):
    """The jobs that wait for the end of this thread's request."""

    def __init__(self) -> None:
        self._waiting: list[tuple[OutgoingJob, str]] | None = None

    def run(self, job: OutgoingJob, connection: str) -> None:
        """Run `job` when the response has been sent; at once where there is no request.

        Its error is logged, never raised: the code that dispatched it has gone on.
        """
        if self._waiting is None:
            _run_logged(job, connection)
        else:
            self._waiting.append((job, connection))

    def started(self, environ: object = None, **_: Any) -> None:
        """Begin to collect jobs: a request starts in this thread."""
        self.finished()  # for an earlier response that its server never closed
        # Django's async test client ends its requests in another thread: nothing would run the
        # jobs.
        has_a_thread = SyncToAsync.thread_sensitive_context.get(None) is not None
        if environ is not None or has_a_thread:
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


def connect() -> None:
    """Connect to Django's request signals. A second call changes nothing."""
    request_started.connect(_started, dispatch_uid="djqueue.after_response")
    request_finished.connect(_finished, dispatch_uid="djqueue.after_response")


def _started(**arguments: Any) -> None:
    after_response.started(**arguments)


def _finished(**arguments: Any) -> None:
    after_response.finished()


def _run_logged(job: OutgoingJob, connection: str) -> None:
    try:
        run_here(job, connection)
    except Exception:
        logger.exception(
            "%s %s failed on connection %s, which keeps no jobs: it will not be retried.",
            job.name,
            job.id,
            connection,
        )
