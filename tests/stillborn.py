"""An application that keeps a worker's children from starting, as a library or a limit may."""

from __future__ import annotations

import errno
import os
from typing import NoReturn

from django.apps import AppConfig

HOW = "DJQUEUE_TEST_STILLBORN"
_forks = 0


class StillbornConfig(AppConfig):
    name = "tests.stillborn"

    def ready(self) -> None:
        os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    """The first fork of a worker is its warden; that one's forks are its children."""
    global _forks
    _forks += 1
    if os.environ[HOW] == "refused":
        os.fork = _refuse
    elif _forks == 2:
        os._exit(1)


def _refuse() -> NoReturn:
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
