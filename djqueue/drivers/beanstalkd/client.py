"""A client of beanstalkd that sends many commands at once and reads the answers in their order.

Commands are bytes, made by the functions below. beanstalkd speaks only when it is spoken to, so a
socket that is readable before anything was asked has been closed by the server.

A server that is silent is not one that is gone: as soon as a connection closes, the server gives
what it had reserved to others. A worker's client therefore keeps the connection when its patience
has passed, and reads the answers that are still due before it asks anything else.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from djqueue.drivers.beanstalkd.sockets import silence
from djqueue.errors import QueueUnavailable

MOST_AT_ONCE = 1000
MOST_BYTES = 1 << 17
"""Commands and bytes in one send: their answers have to fit into the buffers of two sockets."""

PEEK_READY = b"peek-ready\r\n"
PEEK_DELAYED = b"peek-delayed\r\n"
RESERVE_NOW = b"reserve-with-timeout 0\r\n"
KICK = b"kick 1000\r\n"
STATS = b"stats\r\n"
LIST_TUBES = b"list-tubes\r\n"


class Reply(NamedTuple):
    """One answer: ``RESERVED 17 5`` and five bytes is ``Reply("RESERVED", 17, b"…")``."""

    word: str
    number: int = 0
    """The job's id, or whatever number comes first."""
    data: bytes = b""

    def pairs(self) -> dict[str, str]:
        """Return the data of a ``stats`` command. Names are plain words, so this much YAML is
        enough.
        """
        lines = self.data.decode("utf-8", "replace").splitlines()
        split = (line.partition(": ") for line in lines)
        return {key: value.strip('"') for key, separator, value in split if separator}

    def items(self) -> list[str]:
        """Return the data of a ``list`` command."""
        lines = self.data.decode("utf-8", "replace").splitlines()
        return [line[2:] for line in lines if line.startswith("- ")]


def put(body: bytes, urgency: int, delay: int, hold_for: int) -> bytes:
    """Return the command that stores a job; it is held for `hold_for` seconds when it is
    reserved.
    """
    return b"put %d %d %d %d\r\n%b\r\n" % (urgency, delay, hold_for, len(body), body)


def reserve_for(seconds: int) -> bytes:
    """Return the command that waits for a job for this many seconds."""
    return b"reserve-with-timeout %d\r\n" % seconds


def reserve_job(job: int) -> bytes:
    """Return the command that takes the job with that id, waiting, delayed or buried. beanstalkd
    1.12 and later.
    """
    return b"reserve-job %d\r\n" % job


def touch(job: int) -> bytes:
    """Return the command that holds a job for its whole time again."""
    return b"touch %d\r\n" % job


def delete(job: int) -> bytes:
    """Return the command that deletes a job that no other connection holds."""
    return b"delete %d\r\n" % job


def release(job: int, urgency: int, delay: int) -> bytes:
    """Return the command that puts a job back."""
    return b"release %d %d %d\r\n" % (job, urgency, delay)


def kick_job(job: int) -> bytes:
    """Return the command that lets a buried or delayed job wait in its tube."""
    return b"kick-job %d\r\n" % job


def peek(job: int) -> bytes:
    """Return the command that shows a job."""
    return b"peek %d\r\n" % job


def stats_job(job: int) -> bytes:
    """Return the command that asks about a job."""
    return b"stats-job %d\r\n" % job


def stats_tube(tube: str) -> bytes:
    """Return the command that asks about a tube."""
    return b"stats-tube %b\r\n" % tube.encode("ascii")


class Client:
    """One connection, opened when it is needed. Errors of the network are `QueueUnavailable`.

    What is reserved belongs to the connection: when it closes, by whatever cause, the server gives
    it to others at once.
    """

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self.address = (host, port)
        self.timeout = timeout
        """Seconds that a worker's `ask` may wait for all answers, and a dispatcher's for each."""
        self.keep_for: float | None = None
        """Seconds for which the connection is kept although the server is silent; None: it is
        closed after `timeout`."""
        self.openings = 0
        """How often it was opened: another number means another socket, which holds nothing."""
        self.late: list[Reply] = []
        """Jobs that the server has reserved for this connection in answers that came too late."""
        self._socket: socket.socket | None = None
        self._poll = select.poll()
        self._process = 0
        self._unsent = b""
        self._owed = 0
        """Answers that are still to come."""
        self._silent_since: float | None = None
        self._buffer = b""
        self._position = 0
        self._used = "default"
        self._watched: tuple[str, ...] = ("default",)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._socket is not None

    @property
    def is_silent(self) -> bool:
        """Whether the server still owes an answer that came too late."""
        return self._silent_since is not None

    def fileno(self) -> int | None:
        """Return its descriptor, or None."""
        return None if self._socket is None else self._socket.fileno()

    # -- asking --------------------------------------------------------------------------------

    def ask(
        self,
        commands: Sequence[bytes],
        *,
        use: str | None = None,
        watch: Sequence[str] | None = None,
        opening: int | None = None,
        into: list[Reply] | None = None,
    ) -> list[Reply]:
        """Send `commands` and read their answers, after choosing the tube to put to or look at
        (`use`) and those to reserve from (`watch`) where they are others than before. With
        `opening` only if the connection is still that one of `openings`. `into` gets the answers
        that came before an error.
        """
        self.ensure_open()
        if opening is not None and opening != self.openings:
            raise QueueUnavailable(
                f"{self} closed the connection: other workers may get the jobs it held."
            )
        deadline = time.monotonic() + self.timeout
        for reply in self._answers(deadline):
            self._note_late(reply)
        chosen = [*self._choose_used(use), *self._choose_watched(watch)]
        replies: list[Reply] = []
        try:
            for part in _parts([*chosen, *commands]):
                self._unsent += b"".join(part)
                self._owed += len(part)
                replies.extend(self._answers(deadline))
        except QueueUnavailable:
            for reply in replies:
                self._note_late(reply)
            if into is not None:
                into += replies[len(chosen) :]
            raise
        for reply in replies[: len(chosen)]:
            if reply.word not in ("USING", "WATCHING"):
                self.close()
                raise QueueUnavailable(f"{self} refused the name of a queue: {reply.word}.")
        return replies[len(chosen) :]

    def begin(self, command: bytes, *, watch: Sequence[str]) -> None:
        """Send a command whose answer may take long: `answer` reads it."""
        self.ask((), watch=watch)
        self._unsent += command
        self._owed += 1
        self._send(time.monotonic() + self.timeout)

    def answer(self) -> Reply | None:
        """Return the answer to what `begin` sent, or None if it has not arrived. Never blocks."""
        if self._socket is None:
            raise QueueUnavailable(f"{self} closed the connection.")
        while (reply := self._parsed()) is None:
            if not self._poll.poll(0):
                return None
            self._fill()
        self._owed -= 1
        return reply

    def is_readable(self) -> bool:
        """Return whether an answer has arrived, or the end of the connection."""
        if self._socket is None:
            return False
        return bool(self._poll.poll(0))

    def is_closed_by_server(self) -> bool:
        """Return whether the server has closed the connection: it sends nothing unasked."""
        return not self._owed and self.is_readable()

    def _note_late(self, reply: Reply) -> None:
        if reply.word == "RESERVED":
            self.late.append(reply)

    def _choose_used(self, tube: str | None) -> list[bytes]:
        if tube is None or tube == self._used:
            return []
        self._used = tube
        return [b"use %b\r\n" % tube.encode("ascii")]

    def _choose_watched(self, tubes: Sequence[str] | None) -> list[bytes]:
        if tubes is None or tuple(tubes) == self._watched:
            return []
        before, self._watched = self._watched, tuple(tubes)
        # New ones first: a connection has to watch something all the time.
        news = [tube for tube in tubes if tube not in before]
        olds = [tube for tube in before if tube not in tubes]
        commands = [b"watch %b\r\n" % tube.encode("ascii") for tube in news]
        return commands + [b"ignore %b\r\n" % tube.encode("ascii") for tube in olds]

    # -- the socket ----------------------------------------------------------------------------

    def ensure_open(self) -> None:
        """Open the connection, or open it again if the server has closed it meanwhile."""
        if self._socket is not None and self._process != os.getpid():
            self.detach()
        if self.is_closed_by_server():
            self.close()
        if self._socket is None:
            self._open()

    def _open(self) -> None:
        try:
            opened = socket.create_connection(self.address, self.timeout)
        except OSError as error:
            raise QueueUnavailable(
                f"{self} cannot be reached: {error}.", ambiguous=False
            ) from error
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        opened.setblocking(False)
        self._socket = opened
        self._poll = select.poll()
        self._poll.register(opened, select.POLLIN)
        self._process = os.getpid()
        self.openings += 1
        self._used, self._watched = "default", ("default",)

    def _answers(self, deadline: float) -> Iterator[Reply]:
        """Send what is unsent, and read all answers that are owed."""
        if self._unsent:
            self._send(deadline)
        while self._owed:
            while (reply := self._parsed()) is None:
                self._wait(select.POLLIN, deadline)
                self._fill()
            self._owed -= 1
            self._silent_since = None
            if self.keep_for is None:  # a dispatcher waits for a slow server, not for a silent one
                deadline = time.monotonic() + self.timeout
            yield reply

    def _send(self, deadline: float) -> None:
        while self._unsent:
            try:
                if self._socket is None:
                    raise ConnectionError("it is closed")
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)
            except OSError as error:
                raise self._broken(error) from error

    def _wait(self, event: int, deadline: float) -> None:
        """Wait until the socket is ready. Raises `QueueUnavailable` after the patience."""
        if self._socket is None:
            raise self._broken(ConnectionError("it is closed"))
        poll = self._poll
        if event != select.POLLIN:
            poll = select.poll()
            poll.register(self._socket, event)
        if poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
        if self.keep_for is None or now - self._silent_since > self.keep_for:
            raise self._broken(TimeoutError(f"no answer within {self.timeout:g} s"))
        raise QueueUnavailable(f"{self} has not answered within {self.timeout:g} s.")

    def _fill(self) -> None:
        """Take what has arrived. The socket is readable."""
        try:
            if self._socket is None:
                raise ConnectionError("it is closed")
            data = self._socket.recv(1 << 18)
            if not data:
                raise ConnectionError("it closed the connection")
        except BlockingIOError:
            return
        except OSError as error:
            raise self._broken(error) from error
        self._buffer = self._buffer[self._position :] + data
        self._position = 0

    def _parsed(self) -> Reply | None:
        """Return the next answer, or None if it has not arrived as a whole."""
        buffer, start = self._buffer, self._position
        end = buffer.find(b"\r\n", start)
        if end < 0:
            return None
        words = buffer[start:end].split()
        try:
            word = words[0].decode("ascii")
            if word not in ("RESERVED", "FOUND", "OK"):
                self._position = end + 2
                return Reply(word, int(words[1]) if _has_number(words) else 0)
            size = int(words[-1])
            if len(buffer) < end + size + 4:
                return None
            self._position = end + size + 4
            return Reply(word, int(words[1]), buffer[end + 2 : end + 2 + size])
        except (ValueError, IndexError) as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> QueueUnavailable:
        self.close()
        return QueueUnavailable(f"{self} broke off: {error}.")

    def close(self) -> None:
        """Close the connection. Other workers may get what it has reserved."""
        opened, self._socket = self._socket, None
        self._unsent = self._buffer = b""
        self._position = self._owed = 0
        self._silent_since = None
        self.late = []
        if opened is not None:
            opened.close()

    def detach(self) -> None:
        """Leave the parent's connection alone, in a child process."""
        if self._socket is not None:
            silence(self._socket.fileno())
            self.close()

    def __str__(self) -> str:
        host, port = self.address
        return f"beanstalkd at {host}:{port}"


def _has_number(words: Sequence[bytes]) -> bool:
    return len(words) > 1 and words[1].isdigit()


def _parts(commands: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    """Return `commands` in pieces that are safe to send before reading."""
    if len(commands) <= MOST_AT_ONCE and sum(map(len, commands)) <= MOST_BYTES:
        if commands:
            yield commands
        return
    part: list[bytes] = []
    size = 0
    for command in commands:
        if part and (len(part) == MOST_AT_ONCE or size + len(command) > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(command)
        size += len(command)
    yield part
