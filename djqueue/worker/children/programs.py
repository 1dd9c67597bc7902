"""Programs that jobs have left running in their child."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from djqueue.compat import helper_processes
from djqueue.worker.warden import orphans

logger = logging.getLogger("djqueue.worker")


class Programs:
    """Those that were reported already, so that each is reported once."""

    def __init__(self) -> None:
        self._known: frozenset[int] = frozenset()

    def look(self, job: str) -> None:
        """Warn about programs that `job` has left running. They end with this process, not with the
        job.
        """
        if not _has_children():
            return
        running = frozenset(pid for pid in orphans.children() if _runs(pid)) - helper_processes()
        for pid in sorted(running - self._known):
            logger.warning(
                "%s has ended and left a program running: %s (process %d). It ends with the process"
                " that ran the job; end it in the job, or start it outside of one.",
                job,
                _name(pid),
                pid,
            )
        self._known = running


def _has_children() -> bool:
    """Return whether this process may have children, with one system call; to find them opens
    files.
    """
    if sys.platform != "linux":
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return "?"
