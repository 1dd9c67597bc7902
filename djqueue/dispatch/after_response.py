"""Jobs that run after the response of the request that dispatched them, in the same process.

Every request has one thread in which its synchronous code runs: the server's own under WSGI, and
under ASGI one that asgiref keeps for it. A dispatch is synchronous code, so what waits is kept by
thread. Code that runs elsewhere (a thread of the project's own) is outside the request.

The jobs are in memory only: when the process ends before they have run, they are gone.
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
    """What waits for the end of this thread's request."""

    def __init__(self) -> None:
        self._waiting: list[tuple[OutgoingJob, str]] | None = None

    def run(self, job: OutgoingJob, connection: str) -> None:
        """Run `job` when the response has been sent; at once where there is no request.

        Its error is logged, never raised: nobody is there to catch it.
        """
        if self._waiting is None:
            _run_logged(job, connection)
        else:
            self._waiting.append((job, connection))

    def started(self, environ: object = None, **_: Any) -> None:
        """A request begins in this thread."""
        self.finished()  # of a response that its server never closed
        # Django's async test client ends its requests in another thread: there is no after.
        has_a_thread = SyncToAsync.thread_sensitive_context.get(None) is not None
        if environ is not None or has_a_thread:
            self._waiting = []

    def finished(self, **_: Any) -> None:
        """The response of this thread's request has been sent."""
        if not self._waiting:
            self._waiting = None
            return
        try:
            while self._waiting:  # a job may dispatch others
                _run_logged(*self._waiting.pop(0))
        finally:
            if not self._waiting:
                self._waiting = None
            # Django's own look at them came before ours.
            close_old_connections()


after_response = AfterResponse()


def connect() -> None:
    """Follow Django's requests. Calling it again changes nothing."""
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
            "%s %s failed on connection %s, which keeps no jobs: it is not tried again.",
            job.name,
            job.id,
            connection,
        )
