"""A TCP proxy before a server, to break connections at the moments that matter."""

from __future__ import annotations

import contextlib
import enum
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.services.server import HOST, free_port

if TYPE_CHECKING:
    from typing_extensions import Self


class Mode(enum.Enum):
    """What becomes of bytes and connections. A change holds for open connections too."""

    PASS = "pass"
    REFUSE = "refuse"
    """Nobody listens, and what was open is closed."""
    DROP = "accept, then drop"
    """Requests reach the server and are carried out; in place of the answer the connection ends."""
    STALL = "stall"
    """Connections are accepted, and nothing happens: what is sent meanwhile never arrives."""
    HOLD = "hold"
    """The same, but what is sent meanwhile arrives later, as on a server that was suspended."""


class Proxy:
    """Passes bytes on to a server on this machine, in threads of this process."""

    host = HOST

    def __init__(self, target: int, *, read: Callable[[bytes], None] | None = None) -> None:
        """Before the port `target`; `read` is told all that clients send."""
        self._read = read
        self.port = free_port()
        self.connections = 0
        """How many were accepted so far."""
        self.lost = 0
        """How many ended in place of an answer."""
        self._target = target
        self._mode = Mode.PASS
        self._deaf_until = 0.0
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.REFUSE:
            self._close()
        elif self._listener is None:
            self._listen()

    def lose_replies(self, seconds: float) -> None:
        """For so long requests are carried out and nothing comes back; connections that were used
        meanwhile end then.
        """
        self._deaf_until = time.monotonic() + seconds

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close()

    # -- connections ----------------------------------------------------------------------------

    def _listen(self) -> None:
        self._listener = socket.create_server((HOST, self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            _end(listener)
        with self._lock:
            for each in list(self._open):
                _end(each)
            self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self.connections += 1
                try:
                    server = socket.create_connection((HOST, self._target), 5)
                except OSError:
                    client.close()
                    continue
                for source, target, answers in ((client, server, False), (server, client, True)):
                    source.settimeout(None)
                    source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    with self._lock:
                        self._open.add(source)
                    ends = (source, target, answers)
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if self._mode is Mode.STALL:
                    continue
                while self._mode is Mode.HOLD:
                    time.sleep(0.01)
                if answers and self._loses():
                    self.lost += 1
                    break
                if self._read is not None and not answers:
                    self._read(data)
                target.sendall(data)
        with self._lock:
            self._open -= {source, target}
        _end(source)
        _end(target)

    def _loses(self) -> bool:
        """Whether an answer does not come back. Waits until its connection is to end."""
        deaf = self._deaf_until - time.monotonic()
        if deaf > 0:
            time.sleep(deaf)
        return deaf > 0 or self._mode is Mode.DROP


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
