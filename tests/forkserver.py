"""Starts management commands as ``python -m django`` does, by fork of a process that has imported
Django and djqueue already: most of what a command takes to start is importing them.

What is forked has no settings, applications or connections yet: it comes to those itself. It is a
session of its own, has the given environment, the default handling of signals, and no file open but
its standard streams.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What can be imported before there are settings, and brings most of the rest with it.
_MODULES = (
    "django.contrib.admin",
    "django.contrib.auth.hashers",
    "django.contrib.messages.storage.fallback",
    "djqueue.management.commands.queue_work",
    "tests.databases",
)
_BACKENDS = {
    "sqlite": "django.db.backends.sqlite3.base",
    "postgresql": "tests.postgresql.base",
    "mariadb": "django.db.backends.mysql.base",
}
# Python, the C library and the loader read these when a process starts.
_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "TZ")
_CHUNK = 1 << 16


def read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that do nothing for a process that runs already."""
    return {key: value for key, value in environment.items() if key.startswith(_READ_AT_START)}


class ForkServer:
    """The process that forks, and this process's line to it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.fixed = read_at_start(environment)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forkserver", str(theirs.fileno())],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], streams: Sequence[int]
    ) -> Forked:
        """Start a management command; `streams` are its stdin, stdout and stderr.

        Its variables among `fixed` have to be the server's.
        """
        request = json.dumps([arguments, dict(environment)]).encode()
        end, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._socket, [b"%d" % len(request)], [*streams, theirs.fileno()])
            for at in range(0, len(request), _CHUNK):
                self._socket.send(request[at : at + _CHUNK])
        return Forked(end)

    def close(self) -> None:
        """End the server; what it has started goes on."""
        self._socket.close()
        self._process.wait()


class Forked:
    """What a fork server has started: as much of `subprocess.Popen` as tests use."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.pid = int(end.recv(16))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code, which is negative for a signal."""
        if self.returncode is None:
            self._end.settimeout(timeout)
            try:
                self.returncode = int(self._end.recv(16))
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired("django", timeout or 0) from None
            self._end.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class _Server:
    """The server's side. Its children leave `serve` and go on to be a command."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._ends: dict[int, socket.socket] = {}
        self._woken, self._wakes = socket.socketpair()
        for end in (self._woken, self._wakes):
            end.setblocking(False)

    def serve(self) -> list[str] | None:
        """Fork and tell of ends until the line is closed; in a child, return its arguments."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakes.fileno())
        while True:
            ready, _, _ = select.select([self._line, self._woken], [], [])
            if self._woken in ready:
                self._woken.recv(_CHUNK)
                self._tell_of_ends()
            if self._line in ready:
                length, files, _, _ = socket.recv_fds(self._line, 16, 4)
                if not length:
                    return None
                arguments = self._fork(int(length), files)
                if arguments is not None:
                    return arguments

    def _fork(self, length: int, files: list[int]) -> list[str] | None:
        request = b""
        while len(request) < length:
            request += self._line.recv(_CHUNK)
        arguments, environment = json.loads(request)
        *streams, end = files
        pid = os.fork()
        if not pid:
            os.close(end)
            self._become(environment, streams)
            return list(arguments)
        for descriptor in streams:
            os.close(descriptor)
        self._ends[pid] = socket.socket(fileno=end)
        self._ends[pid].send(b"%-16d" % pid)
        return None

    def _tell_of_ends(self) -> None:
        while self._ends:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            with self._ends.pop(pid) as end, contextlib.suppress(OSError):
                end.send(b"%d" % os.waitstatus_to_exitcode(status))

    def _become(self, environment: Mapping[str, str], streams: list[int]) -> None:
        """Let go of all that is the server's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        for each in (self._line, self._woken, self._wakes, *self._ends.values()):
            each.close()
        for standard, descriptor in enumerate(streams):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(environment)


def main() -> None:
    for name in (*_MODULES, _BACKENDS[os.environ.get("DJQUEUE_TEST_DB", "sqlite")]):
        with contextlib.suppress(ImportError):  # mysqlclient, where PyMySQL stands in for it
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    arguments = _Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    if arguments is not None:
        sys.argv[1:] = arguments
        runpy.run_module("django", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
