"""Restarting a worker whenever the code changes, for development."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from django.apps import apps
from django.utils.autoreload import StatReloader, get_child_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

__all__ = ["Listener", "worker_command"]

LOOK = 1.0
"""Seconds between two looks at the files."""

MEMORY_LIMIT = 12
"""A worker's exit code that asks for another worker."""


def worker_command(arguments: Sequence[str]) -> list[str]:
    """The command line of this process, with ``queue_work`` and its arguments in its place."""
    own = get_child_arguments()
    start = own[: len(own) - len(sys.argv[1:])]
    return [*start, "queue_work", *arguments]


class Listener:
    """Keeps one worker running, and replaces it when a file changes."""

    def __init__(self, command: Sequence[str], tell: Callable[[str], object]) -> None:
        self._command = command
        self._tell = tell
        self._files = _Files()
        self._stopping = False
        self._by_terminal = False

    def run(self, *, bounded: bool) -> int:
        """Go on until stopped; the last worker's exit code.

        With `bounded`, a worker that ends by itself in good order is not followed by another.
        """
        previous = {each: signal.signal(each, self._stop) for each in _SIGNALS}
        try:
            while True:
                code = self._run_worker()
                if self._stopping or (bounded and code == 0):
                    return max(code, 0)
                if code not in (0, MEMORY_LIMIT):
                    self._tell(
                        f"The worker ended with exit code {code}. Another one starts as soon as "
                        "the code changes."
                    )
                    self._wait_for_change()
        finally:
            for each, handler in previous.items():
                signal.signal(each, handler)

    def _run_worker(self) -> int:
        """Run one worker to its end; 0 if it was ended because a file has changed."""
        self._files.changed()
        worker = subprocess.Popen(self._command)
        changed: Path | None = None
        announced = False
        while True:
            try:
                code = worker.wait(LOOK)
            except subprocess.TimeoutExpired:
                pass
            else:
                return 0 if changed else code
            changed = changed or self._files.changed()
            if (changed or self._forwarding) and not announced:
                announced = True
                if changed:
                    self._tell(f"{changed} has changed: the worker ends its jobs, then restarts.")
                worker.terminate()

    def _wait_for_change(self) -> None:
        while not self._stopping and self._files.changed() is None:
            time.sleep(LOOK)

    @property
    def _forwarding(self) -> bool:
        """Whether the worker has to be signalled to stop. Ctrl-C reaches it without our help, and a
        second signal would cut its jobs short.
        """
        return self._stopping and not self._by_terminal

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self._stopping = True
        self._by_terminal = signum == signal.SIGINT and os.isatty(0)


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Files:
    """The source files of the project: those that are loaded, and all in its apps' folders."""

    def __init__(self) -> None:
        self._reloader = StatReloader()
        for config in apps.get_app_configs():
            if "site-packages" not in config.path:
                self._reloader.watch_dir(config.path, "**/*.py")
        self._seen: Mapping[Path, float] = {}

    def changed(self) -> Path | None:
        """A file that is new or has changed since the last call; None at the first one."""
        seen, self._seen = self._seen, dict(self._reloader.snapshot_files())
        if not seen:
            return None
        return next((path for path, at in self._seen.items() if seen.get(path) != at), None)
