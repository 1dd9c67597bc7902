"""Processes that have lost their parent and fell to this one, and what owns them.

On Linux a process can ask for that (`adopt`). What a job has started in a session of its own, and
what was left behind by a parent of its own, then ends with the child it came from.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

OWNER = "DJQUEUE_CHILD"
"""Environment variable of all programs that a child starts: the child's process id."""
_SET_CHILD_SUBREAPER = 36
prctl: Callable[[int, int], int] | None = (
    ctypes.CDLL(None).prctl if sys.platform == "linux" else None
)
"""Looked up before any process is forked that calls it."""


def adopt() -> None:
    """Make orphans among the descendants of this process its children, from now on."""
    if prctl is not None:
        prctl(_SET_CHILD_SUBREAPER, 1)


def children() -> list[int]:
    """Return the process ids of the children of this process; none if the system does not say."""
    if sys.platform != "linux":
        return []
    me = os.getpid()
    try:
        if Path("/proc/self").readlink().name != str(me):
            return []  # it is of another namespace: the same numbers are other processes there
        with open(f"/proc/self/task/{me}/children", "rb", 0) as file:  # noqa: PTH123 - a warden's
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return list(_from_the_table(me))


def _from_the_table(parent: int) -> Iterator[int]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                stat = Path(f"/proc/{entry.name}/stat").read_text(errors="replace")
                # The program's name, in brackets, may hold spaces and brackets itself.
                if int(stat.rpartition(")")[2].split()[1]) == parent:
                    yield int(entry.name)


def end(living: Collection[int], spared: Collection[int] = ()) -> bool:
    """Kill the descendants that belong to none of the `living` children. Return whether there was
    one. Their own children fall to this process when they are gone, so repeat this until there is
    none.
    """
    found = False
    for pid in children():
        if pid not in living and pid not in spared and not _is_owned(pid, living):
            found = True
            kill_group(pid)
    return found


def _is_owned(pid: int, living: Collection[int]) -> bool:
    with contextlib.suppress(OSError):
        if os.getpgid(pid) in living:
            return True
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name.decode("ascii", "replace") == OWNER:
                return value.isdigit() and int(value) in living
    return False


def kill_group(pid: int) -> None:
    """Send SIGKILL to a child, and to its group if it leads one. Its number is its own until it has
    been waited for.
    """
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
