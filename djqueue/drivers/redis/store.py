"""Where a queue's keys are: on one server, or on the node of a cluster that has their slot."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

from redis import exceptions

from djqueue.drivers.redis.link import REFUSALS, Link
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from redis.connection import Connection

    from djqueue.drivers.redis.scripts import Script


AHEAD = 1
"""Commands that are sent before the one in front of them is answered."""


class Store(ABC):
    """Runs each command on the server that has its key."""

    def __init__(self, name: str) -> None:
        self.name = name
        """The connection's, for messages."""

    def run(
        self, key: bytes, command: Sequence[Any], script: Script | None = None, *, again: bool
    ) -> Any:
        """Run a command on the server of `key`.

        `again`: it does no harm twice, so it is sent once more when the connection broke.
        """
        with self.explained():
            try:
                return self._run(key, command, script, patient=again)
            except (exceptions.ConnectionError, exceptions.ReadOnlyError) as error:
                if not again or isinstance(error, REFUSALS):
                    raise
            return self._run(key, command, script, patient=again)

    def run_all(self, key: bytes, commands: Iterable[Sequence[Any]], script: Script) -> None:
        """Run commands in order that do no harm twice."""
        for command in commands:
            self.run(key, command, script, again=True)

    @abstractmethod
    def _run(
        self, key: bytes, command: Sequence[Any], script: Script | None, *, patient: bool
    ) -> Any: ...

    @abstractmethod
    def link_to(self, key: bytes) -> Link:
        """A new link to the server of `key`, for the caller alone."""

    @abstractmethod
    def servers(self) -> list[Link]:
        """A link to every server."""

    @abstractmethod
    def links(self) -> list[Link]:
        """The links that are there."""

    @property
    def sent(self) -> int:
        """A number that stays as it is while no server has carried out anything."""
        return sum(link.sent for link in self.links())

    def together(self, keys: Sequence[bytes]) -> list[list[bytes]]:
        """The keys that one command may name together."""
        return [list(keys)]

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Let errors of redis-py leave as ours."""
        try:
            yield
        except exceptions.RedisError as error:
            raise QueueUnavailable(
                f'Redis of connection "{self.name}" did not do it: {error}'
            ) from error

    def close(self) -> None:
        """Close everything; the next command opens again."""
        for link in self.links():
            link.close()

    def silence(self) -> None:
        """In a child: make every inherited socket point nowhere."""
        for link in self.links():
            link.silence()


class Single(Store):
    """One server; behind sentinels whichever is the primary."""

    def __init__(self, name: str, make: Callable[[], Connection]) -> None:
        super().__init__(name)
        self._make = make
        self._link = Link(make)

    def _run(
        self, key: bytes, command: Sequence[Any], script: Script | None, *, patient: bool
    ) -> Any:
        return self._link.run(command, script)

    def run_all(self, key: bytes, commands: Iterable[Sequence[Any]], script: Script) -> None:
        """The server is busy with one command while the next one is made."""
        remaining = iter(commands)
        unanswered: deque[Sequence[Any]] = deque()
        try:
            for command in remaining:
                unanswered.append(command)
                self._link.send(command)
                while len(unanswered) > AHEAD:
                    self._link.receive()
                    unanswered.popleft()
            while unanswered:
                self._link.receive()
                unanswered.popleft()
        except exceptions.RedisError:
            self._link.close()  # answers may still be on their way
            super().run_all(key, chain(unanswered, remaining), script)
        except BaseException:
            self._link.close()
            raise

    def link_to(self, key: bytes) -> Link:
        return Link(self._make)

    def servers(self) -> list[Link]:
        return [self._link]

    def links(self) -> list[Link]:
        return [self._link]
