"""A process that a job forked, and that returned from the job as if it were the original."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from typing import NoReturn


class StrayFork:
    """Whether this process is one."""

    is_here = False

    def end_here(self) -> None:
        """End this process if it is one. Called where jobs and other code of users return."""
        if self.is_here:
            _end()


def _end() -> NoReturn:
    """End the process as a program ends: its original alone reports, commits and takes the next
    job.
    """
    error = sys.exc_info()[1]
    code = 0 if error is None else 1
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        traceback.print_exception(error)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # it may be closed
            stream.flush()
    os._exit(code & 0xFF)
