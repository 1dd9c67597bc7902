"""The last resort: a process that stops servers whose owner died without stopping them.

The owner tells it over a pipe what it starts (``+ pid signal folder``) and what it has stopped
(``- pid``). When the pipe ends, or the owner is no longer its parent, whatever is left is stopped
and its folder removed. This works for a crash, ``kill -9`` and a closed terminal alike, on every
system, and whichever thread started the server.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

# How long a server may take to stop by itself before it is killed, in seconds.
_PATIENCE = 5.0


class Guard:
    """The owner's end of the pipe. One per process, made when the first server starts."""

    _instance: Guard | None = None

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._stops: dict[int, Callable[[], None]] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-S", str(Path(__file__)), str(self.owner)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    @classmethod
    def get(cls) -> Guard:
        """Return this process's guard; a forked child has none of its parent's."""
        if cls._instance is None or cls._instance.owner != os.getpid():
            cls._instance = cls()
            atexit.register(cls._instance.close)
        return cls._instance

    def watch(self, pid: int, stop_signal: int, folder: Path, stop: Callable[[], None]) -> None:
        """See that a process group ends: with `stop` at exit, with the signal after a crash."""
        self._stops[pid] = stop
        self._tell(f"+ {pid} {int(stop_signal)} {folder}\n")

    def forget(self, pid: int) -> None:
        self._stops.pop(pid, None)
        self._tell(f"- {pid}\n")

    def close(self) -> None:
        # A forked child inherits the handler and must not end its parent's guard.
        if self.owner != os.getpid():
            return
        for stop in list(self._stops.values()):
            stop()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.wait()

    def _tell(self, line: str) -> None:
        stdin = self._process.stdin
        if stdin is not None and not stdin.closed:
            stdin.write(line.encode())
            stdin.flush()


def _listen(owner: int) -> dict[int, tuple[int, str]]:
    """Return what was started and not stopped, once the owner is gone."""
    watched: dict[int, tuple[int, str]] = {}
    pending = b""
    while True:
        # Asked before reading: what an owner said just before its end is in the pipe by then.
        is_orphan = os.getppid() != owner
        if not select.select([0], [], [], 0.0 if is_orphan else 1.0)[0]:
            if is_orphan:
                break
            continue
        data = os.read(0, 65536)
        if not data:
            break
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            _note(watched, line.decode())
    return watched


def _note(watched: dict[int, tuple[int, str]], line: str) -> None:
    action, pid, *rest = line.split(" ", 3)
    if action == "+":
        watched[int(pid)] = (int(rest[0]), rest[1])
    else:
        watched.pop(int(pid), None)


def _send(pid: int, signum: int) -> bool:
    """Signal a process group; whether it is still there."""
    try:
        os.killpg(pid, signum)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _stop(watched: dict[int, tuple[int, str]]) -> None:
    for pid, (stop_signal, _) in watched.items():
        _send(pid, signal.SIGCONT)
        _send(pid, stop_signal)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and any(_send(pid, 0) for pid in watched):
        time.sleep(0.05)
    for pid, (_, folder) in watched.items():
        _send(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    # Ctrl-C is for the owner, which stops its servers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _stop(_listen(int(sys.argv[1])))
