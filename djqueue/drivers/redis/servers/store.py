"""Where a queue's keys are: on one server, or on the node of a cluster that has their slot."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from redis import exceptions

from djqueue.drivers.redis.servers.connection import REFUSALS, ServerConnection
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from redis.connection import Connection

    from djqueue.drivers.redis.pushing import Push
    from djqueue.drivers.redis.scripts import Script


AHEAD = 1
"""Commands that are sent before the one in front of them is answered."""
SHORTEST = 0.01
"""Seconds that are left at least to whatever is asked at all."""


class QueueDamaged(QueueUnavailable):
    """A key of one queue is not what it has to be. Other queues are not affected."""


class Store(ABC):
    """Runs each command on the server that has its key."""

    def __init__(self, name: str, timeout: float) -> None:
        self.name = name
        """The connection's, for messages."""
        self.patience: float | None = None
        """Seconds that all commands of one call may take together; None: `timeout` for each."""
        self.timeout = timeout
        self._ends_at = 0.0
        self._is_one_call = False

    def begin(self) -> None:
        """Begin a call to the driver: its time runs from now."""
        self._is_one_call = self.patience is not None
        self._ends_at = time.monotonic() + (self.patience or self.timeout)

    def allow_time(self) -> None:
        """Begin a command: without a time for the whole call it has one of its own."""
        if not self._is_one_call:
            self._ends_at = time.monotonic() + self.timeout

    def time_left(self) -> float:
        """Return the seconds that may be waited from now. Raises `TimeoutError` when there are
        none.
        """
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise exceptions.TimeoutError("Timeout: it took too long in all.")
        return max(SHORTEST, min(left, self.timeout))

    def run(
        self, key: bytes, command: Sequence[Any], script: Script | None = None, *, again: bool
    ) -> Any:
        """Run a command on the server of `key`. `again`: running it twice does no harm, so it is
        sent once more when the connection broke.
        """
        with self.explained():
            self.allow_time()
            try:
                return self._run(key, command, script, patient=again)
            except (exceptions.ConnectionError, exceptions.ReadOnlyError) as error:
                if not again or isinstance(error, REFUSALS):
                    raise
            return self._run(key, command, script, patient=again)

    def push(self, key: bytes, pushes: Iterable[Push], script: Script) -> None:
        """Run what is to be pushed, in order."""
        for push in pushes:
            self.push_one(key, push, script)

    def push_one(self, key: bytes, push: Push, script: Script) -> None:
        """Run one of them, and once more when its answer is lost: it knows whether it has run."""
        self.allow_time()
        is_last = False
        while not push.is_stored:
            lost = self.lost
            try:
                self._run(key, push.command(), script, patient=True)
            except exceptions.RedisError as error:
                push.in_doubt = push.in_doubt or self.lost != lost
                broke = isinstance(error, (exceptions.ConnectionError, exceptions.ReadOnlyError))
                if is_last or not broke or isinstance(error, REFUSALS):
                    raise self._our(error) from error
                is_last = True
            else:
                push.is_stored = True

    @abstractmethod
    def _run(
        self, key: bytes, command: Sequence[Any], script: Script | None, *, patient: bool
    ) -> Any: ...

    @abstractmethod
    def connection_to(self, key: bytes) -> ServerConnection:
        """Return a new connection to the server of `key`, for the caller alone."""

    @abstractmethod
    def servers(self) -> list[ServerConnection]:
        """Return a connection to every server."""

    @abstractmethod
    def connections(self) -> list[ServerConnection]:
        """Return the open connections."""

    @property
    def lost(self) -> int:
        """A number that grows when a server may have carried out a command that it never
        answered.
        """
        return sum(connection.lost for connection in self.connections())

    is_cluster = False
    """Whether one of several servers may be away alone."""

    def place(self, key: bytes) -> object:
        """Return what distinguishes the server of `key` from others, any of which may be away
        alone. Return None if there is only one.
        """
        return None

    def group_by_slot(self, keys: Sequence[bytes]) -> list[list[bytes]]:
        """Return the keys that one command may name together."""
        return [list(keys)]

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Raise errors of redis-py in this block as errors of djqueue."""
        try:
            yield
        except exceptions.RedisError as error:
            raise self._our(error) from error

    def _our(self, error: exceptions.RedisError) -> QueueUnavailable:
        if _is_about_data(error):
            return QueueDamaged(f'Connection "{self.name}" has a damaged queue: {error}')
        return QueueUnavailable(f'Connection "{self.name}" is unavailable: {error}')

    def close(self) -> None:
        """Close everything; the next command opens again."""
        for connection in self.connections():
            connection.close()


class Single(Store):
    """One server; behind sentinels whichever is the primary."""

    def __init__(self, name: str, timeout: float, make: Callable[[], Connection]) -> None:
        super().__init__(name, timeout)
        self._make = make
        self._connection = ServerConnection(make, self.time_left)

    def _run(
        self, key: bytes, command: Sequence[Any], script: Script | None, *, patient: bool
    ) -> Any:
        return self._connection.run(command, script)

    def push(self, key: bytes, pushes: Iterable[Push], script: Script) -> None:
        """The server is busy with one of them while the next one is made."""
        remaining = iter(pushes)
        unanswered: deque[Push] = deque()
        lost = self._connection.lost
        try:
            for push in remaining:
                self.allow_time()
                unanswered.append(push)
                self._connection.send(push.command())
                while len(unanswered) > AHEAD:
                    self._read_answer(unanswered)
            while unanswered:
                self._read_answer(unanswered)
        except exceptions.RedisError as error:
            again = self._unstored(unanswered, error, lost)
        except BaseException:
            self._connection.close()
            raise
        else:
            return
        super().push(key, again, script)
        super().push(key, remaining, script)

    def _read_answer(self, unanswered: deque[Push]) -> None:
        self.allow_time()
        self._connection.receive()
        unanswered.popleft().is_stored = True

    def _unstored(
        self, unanswered: deque[Push], error: exceptions.RedisError, lost: int
    ) -> list[Push]:
        """Return what has to be sent again after `error`. A server that refuses one answers the
        others; a connection that broke leaves in doubt what was sent, in the order in which it was
        sent.
        """
        again: list[Push] = []
        while unanswered and isinstance(error, exceptions.ResponseError):
            again.append(unanswered.popleft())
            try:
                while unanswered:
                    self._read_answer(unanswered)
            except exceptions.RedisError as another:
                error = another
        self._connection.close()
        doubtful = list(unanswered)[: self._connection.lost - lost]
        names = [push.name for push in doubtful]
        for number, push in enumerate(doubtful):
            push.in_doubt, push.proofs = True, names[number:]
        return [*again, *unanswered]

    def connection_to(self, key: bytes) -> ServerConnection:
        return ServerConnection(self._make, self.time_left)

    def servers(self) -> list[ServerConnection]:
        return [self._connection]

    def connections(self) -> list[ServerConnection]:
        return [self._connection]

    @property
    def lost(self) -> int:
        return self._connection.lost


def _is_about_data(error: exceptions.RedisError) -> bool:
    """Return whether a server has met a key of another type, or a value that a script cannot
    read.
    """
    text = str(error)
    return isinstance(error, exceptions.ResponseError) and (
        "WRONGTYPE" in text or "attempt to " in text
    )
