"""Signs of life for what supervises a worker: messages to systemd, and the time of a file."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from djqueue.drivers import clock

if TYPE_CHECKING:
    from djqueue.worker.progress import Progress

__all__ = ["TOUCH_EVERY", "SignsOfLife"]

logger = logging.getLogger("djqueue.worker")

TOUCH_EVERY = 5.0
"""Seconds between two times of the file."""
MORE_TIME = 30
"""Seconds for which systemd is asked to wait for a worker whose store is away at its start."""


class SignsOfLife:
    """Says that the worker's loop turns: it is called in each turn that looks at what runs."""

    def __init__(self, heartbeat: str, environ: MutableMapping[str, str] | None = None) -> None:
        """Take what systemd left in `environ` out of it: children do not speak for the worker."""
        given = os.environ if environ is None else environ
        self._address = given.pop("NOTIFY_SOCKET", "")
        every, process = given.pop("WATCHDOG_USEC", ""), given.pop("WATCHDOG_PID", "")
        is_ours = every.isdecimal() and process in ("", str(os.getpid()))
        self._every = int(every) / 2e6 if is_ours else 0.0
        self._file = Path(heartbeat) if heartbeat else None
        self._said: set[str] = set()
        self._next_watchdog = self._next_touch = 0.0

    def waits(self) -> None:
        """Say that the worker waits for its store before it begins."""
        self._send([f"EXTEND_TIMEOUT_USEC={MORE_TIME * 1_000_000}"])
        self._touch(clock.now())

    def show(self, progress: Progress) -> None:
        """Say what is new, and what is due: that the worker has begun, goes on, or stops."""
        now = clock.now()
        state = "READY=1" if progress.reason is None else "STOPPING=1"
        lines = [state] if state not in self._said else []
        self._said.add(state)
        if self._every and now >= self._next_watchdog:
            self._next_watchdog = now + self._every
            lines.append("WATCHDOG=1")
        self._send(lines)
        self._touch(now)

    def _send(self, lines: list[str]) -> None:
        if not lines or self._address[:1] not in ("/", "@"):
            return
        address = self._address
        if address[0] == "@":  # a socket without a file
            address = f"\0{address[1:]}"
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode(), address)

    def _touch(self, now: float) -> None:
        if self._file is None or now < self._next_touch:
            return
        self._next_touch = now + TOUCH_EVERY
        try:
            self._file.touch()
        except OSError as error:
            if "heartbeat" not in self._said:
                logger.warning("The heartbeat file could not be touched: %s", error)
            self._said.add("heartbeat")
