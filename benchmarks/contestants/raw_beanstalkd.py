"""Beanstalkd's protocol on a bare socket."""

from __future__ import annotations

import socket
import time
from io import BufferedReader
from typing import Any

from benchmarks.contestants import djqueue

_AT_ONCE = 100


class Contestant(djqueue.Contestant):
    """Uses djqueue's tube."""

    def __init__(self, store: dict[str, Any]) -> None:
        super().__init__(store)
        self._socket = socket.create_connection((store["host"], store["port"]))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers: BufferedReader = self._socket.makefile("rb")
        self._ask(b"use default\r\nwatch default\r\n", 2)

    def prepare(self) -> None:
        """The tube is djqueue's."""

    def _ask(self, commands: bytes, answers: int) -> list[bytes]:
        self._socket.sendall(commands)
        return [self._answers.readline() for _ in range(answers)]

    def put(self, count: int) -> float:
        """One job a round trip."""
        ready = self._puts(count)
        began = time.perf_counter()
        for command in ready:
            self._ask(command, 1)
        return count / (time.perf_counter() - began)

    def put_many(self, count: int) -> float:
        """A hundred jobs a round trip."""
        ready = self._puts(count)
        began = time.perf_counter()
        for start in range(0, count, _AT_ONCE):
            some = ready[start : start + _AT_ONCE]
            self._ask(b"".join(some), len(some))
        return count / (time.perf_counter() - began)

    def _puts(self, count: int) -> list[bytes]:
        from benchmarks.project.jobs import Noop
        from djqueue.dispatch.connections import queues
        from djqueue.dispatch.dispatch import prepare
        from djqueue.jobs.definition.spec import spec_of

        driver: Any = queues["main"].driver
        jobs = [Noop(number) for number in range(count)]
        return [driver._put(prepare(job, spec_of(job)).outgoing) for job in jobs]

    def loop(self, window: int) -> float:
        """Delete the last window and take the next in one send, until the tube is empty."""
        done: list[bytes] = []
        taken = 0
        reserve = b"reserve-with-timeout 0\r\n" * window
        began = time.perf_counter()
        while True:
            deletes = b"".join(b"delete %b\r\n" % job for job in done)
            self._socket.sendall(deletes + reserve)
            for _ in done:
                self._answers.readline()
            done = [job for job in (self._reserved() for _ in range(window)) if job]
            taken += len(done)
            if not done:
                return taken / (time.perf_counter() - began)

    def _reserved(self) -> bytes:
        """The number of the next job that was reserved; empty if there was none."""
        line = self._answers.readline()
        if not line.startswith(b"RESERVED"):
            return b""
        _, job, size = line.split()
        self._answers.read(int(size) + 2)
        return job
