"""What a process looks like before a job, and again after it.

Each job finds the signal handlers, the signal mask, the current directory, the umask and the
environment of the worker's start, whatever the one before did to them.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import suppress

from djqueue.compat import environment, getsignal, pthread_sigmask

logger = logging.getLogger("djqueue")

_HANDLED = (
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGCONT, signal.SIGTSTP),
    *(signal.SIGPROF, signal.SIGVTALRM, signal.SIGXCPU),
)
_BLOCK = int(signal.SIG_BLOCK)
_TIMERS = {signal.SIGPROF: signal.ITIMER_PROF, signal.SIGVTALRM: signal.ITIMER_VIRTUAL}


class Surroundings:
    """As they are when this is made, to be restored after each job."""

    def __init__(self) -> None:
        self._numbers = [int(number) for number in _HANDLED]
        self._handlers = list(map(getsignal, self._numbers))
        self._mask = pthread_sigmask(_BLOCK, ())
        self._directory = _directory()
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._environ = environment()
        self._variables = dict(self._environ)
        self._warned: set[tuple[str, str]] = set()

    def restore(self, job: str) -> None:
        """Undo what `job` changed. Cheap if it changed nothing."""
        if list(map(getsignal, self._numbers)) != self._handlers:
            self._restore_handlers()
            self._tell(job, "signal handlers")
        if pthread_sigmask(_BLOCK, ()) != self._mask:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            self._tell(job, "the signal mask")
        if os.umask(self._umask) != self._umask:
            self._tell(job, "the umask")
        if self._directory is not None and _directory() != self._directory:
            with suppress(OSError):  # gone by now
                os.chdir(self._directory)
            self._tell(job, "the current directory")
        if self._environ != self._variables:
            self._restore_environment()
            self._tell(job, "environment variables")

    def _restore_handlers(self) -> None:
        for number, handler in zip(_HANDLED, self._handlers, strict=True):
            if getsignal(number) != handler:
                if number in _TIMERS:  # its signal would have no handler
                    signal.setitimer(_TIMERS[number], 0)
                if handler is not None:
                    signal.signal(number, handler)

    def _restore_environment(self) -> None:
        now = dict(self._environ)
        for name in now.keys() | self._variables.keys():
            if now.get(name) == self._variables.get(name):
                continue
            if name in self._variables:
                os.environb[name] = self._variables[name]
            else:
                del os.environb[name]
            if name == b"TZ":
                time.tzset()

    def _tell(self, job: str, what: str) -> None:
        """Log once for each job and kind: it would be the same each time."""
        if (job, what) not in self._warned:
            self._warned.add((job, what))
            logger.warning(
                "Job %s changed %s of its process; that was undone, since other jobs run there.",
                job,
                what,
            )


def _directory() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - a path would cost more than the question
    except OSError:
        return None
