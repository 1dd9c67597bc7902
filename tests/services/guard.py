"""The last resort: a process that stops servers whose owner died without stopping them.

The owner tells it over a pipe what it starts (``+ pid signal folder``), what it has stopped
(``- pid``), and which folders nobody needs after its end (``/ folder``). When the pipe ends, or
the owner is no longer its parent, whatever is left is stopped and the folders are removed. This
works for a crash, ``kill -9`` and a closed terminal alike, on every system, and whichever thread
started the server.
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

    def remove(self, folder: Path) -> None:
        """See that a folder is gone when its owner is."""
        self._tell(f"/ {folder}\n")

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


class _Watched:
    """What there is to do when the owner is gone."""

    def __init__(self) -> None:
        self.signals: dict[int, int] = {}  # by process id
        self.folders: dict[int, str] = {}
        self.more_folders: list[str] = []

    def note(self, line: str) -> None:
        action, _, rest = line.partition(" ")
        if action == "/":
            self.more_folders.append(rest)
        elif action == "+":
            pid, signum, folder = rest.split(" ", 2)
            self.signals[int(pid)] = int(signum)
            self.folders[int(pid)] = folder
        else:
            self.signals.pop(int(rest), None)
            self.folders.pop(int(rest), None)

    def stop(self) -> None:
        self._send(dict.fromkeys(self.signals, signal.SIGCONT), 0.0)
        self._send(self.signals, _PATIENCE)
        self._send(dict.fromkeys(self.signals, signal.SIGKILL), 1.0)
        for folder in (*self.folders.values(), *self.more_folders):
            shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def _send(signals: dict[int, int], patience: float) -> None:
        """Signal process groups, and wait until they are gone or patience is."""
        left = [pid for pid, signum in signals.items() if _signal(pid, signum)]
        deadline = time.monotonic() + patience
        while left and time.monotonic() < deadline:
            time.sleep(0.05)
            left = [pid for pid in left if _signal(pid, 0)]


def _listen(owner: int) -> _Watched:
    """Return what was started and not stopped, once the owner is gone."""
    watched = _Watched()
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
            watched.note(line.decode())
    return watched


def _signal(pid: int, signum: int) -> bool:
    """Signal a process group; whether it is still there."""
    try:
        os.killpg(pid, signum)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    # Ctrl-C is for the owner, which stops its servers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _listen(int(sys.argv[1])).stop()
