"""One connection to one server, driven by hand: no pool, no retry behind our back, no threads."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import SentinelManagedConnection

from djqueue.compat import socket_of

HAS_HIREDIS = find_spec("hiredis") is not None
if HAS_HIREDIS:
    import hiredis

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.connection import Connection

    from djqueue.drivers.redis.scripts import Script

REFUSALS = (
    exceptions.BusyLoadingError,
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
)
"""Answers of a server that redis-py counts among the errors of a connection. A second try at once
does not help."""
IDLE = 0.5
"""Seconds without use after which a connection is looked at before it is used again."""


class ServerConnection:
    """A socket that is opened at its first use, and again after it broke."""

    def __init__(self, make: Callable[[], Connection], patience: Callable[[], float]) -> None:
        self._make = make
        self._patience = patience
        """For how many seconds from now may be waited; `TimeoutError` when none are left."""
        self._connection: Connection | None = None
        self._used = 0.0
        self._allowed = 0.0
        self._unanswered = 0
        self.lost = 0
        """Commands so far whose answers were never read: the server may have carried them out."""

    def run(self, command: Sequence[Any], script: Script | None = None) -> Any:
        """Send one command and return its answer. Raises redis-py's errors unchanged. A script that
        the server does not know is sent whole; it has not run before that.
        """
        self.send(command)
        try:
            return self.receive()
        except exceptions.NoScriptError:
            if script is None:
                raise
        self.send((b"EVAL", script.text, *command[2:]))
        return self.receive()

    def look(self, *command: Any) -> Any:
        """Run a command that changes nothing, so that its repetition does no harm."""
        lost = self.lost
        try:
            return self.run(command)
        finally:
            self.lost = lost

    def send(self, *commands: Sequence[Any]) -> None:
        """Send without waiting for the answers."""
        connection: Any = self._connected()
        try:
            for command in commands:
                self._allow_time(connection)
                self._unanswered += 1
                packed = _packed(connection, command)
                connection.send_packed_command(packed, check_health=False)
        except BaseException:
            self.close()
            raise

    def receive(self) -> Any:
        """Return the next answer. An error of the server is raised, and the connection stays."""
        connection = self._connection
        if connection is None:
            raise exceptions.ConnectionError("The connection is closed.")
        try:
            if self._unanswered > 1:  # else it was allowed when this was sent
                self._allow_time(connection)
            answer = connection.read_response()
        except exceptions.ResponseError as error:
            self._unanswered -= 1
            if isinstance(error, exceptions.ReadOnlyError):
                self.close()  # a replica by now: the next connection may find its primary
            raise
        except BaseException as error:
            if isinstance(error, REFUSALS):
                self._unanswered -= 1
            self.close()
            raise
        self._unanswered -= 1
        self._used = time.monotonic()
        return answer

    @property
    def host(self) -> str:
        """The server's host, once connected."""
        return str(getattr(self._connection, "host", ""))

    def descriptor(self) -> int | None:
        """The socket, if it is open."""
        sock = socket_of(self._connection)
        return None if sock is None else sock.fileno()

    def close(self) -> None:
        """Close; the next command opens again."""
        self.lost += self._unanswered
        self._unanswered = 0
        connection: Any = self._connection
        self._connection = None
        if connection is not None:
            connection.disconnect()

    def _connected(self) -> Connection:
        connection = self._connection
        if connection is not None and (self._unanswered or time.monotonic() - self._used < IDLE):
            return connection
        if connection is not None and _is_stale(connection):
            self.close()
        if self._connection is None:
            self._connection = self._open()
        self._used = time.monotonic()
        return self._connection

    def _open(self) -> Connection:
        connection: Any = self._make()  # redis-py has no types here
        self._allowed = self._patience()
        connection.socket_timeout = connection.socket_connect_timeout = self._allowed
        if isinstance(connection, SentinelManagedConnection):
            _hurry_sentinels(connection.connection_pool, self._allowed)
        connection.connect()
        opened: Connection = connection
        return opened

    def _allow_time(self, connection: Connection) -> None:
        """Wait no longer from now on than the call that this belongs to may, within a twentieth."""
        left = self._patience()
        if not 0.95 * self._allowed <= left <= 1.05 * self._allowed:
            sock = socket_of(connection)
            if sock is not None:
                sock.settimeout(left)
                self._allowed = left


def _hurry_sentinels(pool: Any, seconds: float) -> None:
    """Let those that know the primary answer within `seconds` together: redis-py would wait for
    each without end, or several times.
    """
    sentinels = pool.sentinel_manager.sentinels
    share = seconds / (len(sentinels) or 1)
    for sentinel in sentinels:
        its = sentinel.connection_pool
        its.disconnect()
        its.reset()  # connections keep the time that they were made with
        its.connection_kwargs |= {
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": share,
            "socket_connect_timeout": share,
        }


def _is_stale(connection: Connection) -> bool:
    """Return whether the other side has closed it, or sent something unasked."""
    try:
        return connection.can_read(0)
    except exceptions.ConnectionError:
        return True


def _packed(connection: Any, command: Sequence[Any]) -> list[bytes]:
    """Encode `command`. redis-py looks at each argument first, for kinds that are not used here."""
    if HAS_HIREDIS:
        return [hiredis.pack_command(tuple(command))]
    packed: list[bytes] = connection.pack_command(*command)
    return packed
