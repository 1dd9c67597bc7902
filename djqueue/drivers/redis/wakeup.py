"""How an idle worker learns of a push: it waits for a token in the queue's `wake` list.

A push puts a token there when there is none. ``BLPOP`` takes it, on a socket that does nothing
else and that the worker's loop watches beside everything else; while there is more to do than the
worker has room for it is not sent again. A token is a hint: one that gets lost costs the time until
the next poll.
"""

from __future__ import annotations

import selectors
import time
from typing import TYPE_CHECKING

from redis import exceptions

from djqueue.drivers.base import Wakeup
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from djqueue.drivers.redis.servers.connection import ServerConnection
    from djqueue.drivers.redis.servers.store import Store

GRACE = 5.0
"""Seconds after the end of a ``BLPOP`` without an answer: then the connection is dead."""
RETRY = 1.0
"""Seconds between two attempts to listen again."""


class RedisWakeup(Wakeup):
    """One socket for all queues, or one a queue on a cluster; the loop sees one descriptor."""

    def __init__(self, store: Store, keys: Sequence[bytes], block_for: float) -> None:
        self._store = store
        self._selector = selectors.DefaultSelector()
        self._idle = True
        self._there_is_more = False
        self._listeners = [
            _Listener(store, some, block_for, self._selector) for some in store.group_by_slot(keys)
        ]
        self._listen()

    def fileno(self) -> int | None:
        """Return the selector's own descriptor, which is readable when one of its sockets is: it
        never changes.
        """
        if isinstance(self._selector, _SELECTABLE):
            return self._selector.fileno()
        return None

    def arrived(self) -> bool:
        self._store.begin()
        with_token = [
            listener for key, _ in self._selector.select(0) if (listener := key.data).has_token()
        ]
        if self._idle:
            if not self._there_is_more:
                self._listen()
        else:
            # We are busy, and a sleeping worker was not woken: pass it on.
            for listener in with_token:
                listener.pass_on()
        return bool(with_token)

    def set_idle(self, idle: bool) -> None:
        self._idle = idle
        if idle:
            self.found(all_wanted=False)

    def found(self, *, all_wanted: bool) -> None:
        """Note that the worker asked for jobs. Once it got `all_wanted` it will ask again without a
        call.
        """
        self._there_is_more = all_wanted
        if not all_wanted:
            self._listen()

    def _listen(self) -> None:
        """Ask on every socket. One that is refused, or not answered, is enough for one call."""
        self._store.begin()
        for listener in self._listeners:
            if not listener.listen():
                return

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._selector.close()


_SELECTABLE: tuple[type, ...] = tuple(
    getattr(selectors, name)
    for name in ("EpollSelector", "KqueueSelector", "DevpollSelector")
    if hasattr(selectors, name)
)


class _Listener:
    """A socket that waits for a token."""

    def __init__(
        self,
        store: Store,
        keys: Sequence[bytes],
        block_for: float,
        selector: selectors.BaseSelector,
    ) -> None:
        self._store = store
        self._keys = keys
        self._block_for = block_for
        self._selector = selector
        self._connection: ServerConnection | None = None
        self._registered: int | None = None
        self._until = 0.0
        """When the answer is overdue; 0 while nothing was asked."""
        self._again_at = 0.0

    def listen(self) -> bool:
        """Ask for a token, unless that is asked already. Return whether nothing went wrong."""
        now = time.monotonic()
        if self._until and now > self._until:
            self.close()
        if self._until or now < self._again_at:
            return True
        try:
            self._ask()
        except (exceptions.RedisError, QueueUnavailable, OSError):
            self.close()
            self._again_at = time.monotonic() + RETRY
            return False
        return True

    def _ask(self) -> None:
        if self._connection is None:
            self._connection = self._store.connection_to(self._keys[0])
        self._connection.send((b"BLPOP", *self._keys, self._block_for))
        self._until = time.monotonic() + self._block_for + GRACE
        descriptor = self._connection.descriptor()
        if descriptor is not None and descriptor != self._registered:
            self._forget()
            self._selector.register(descriptor, selectors.EVENT_READ, self)
            self._registered = descriptor

    def has_token(self) -> bool:
        """Read the answer, which has arrived. Return whether it is a token."""
        if self._connection is None:
            return False
        try:
            answer = self._connection.receive()
        except exceptions.RedisError:
            # Gone, or the slot has moved: look again, there and here.
            self.close()
            return True
        self._until = 0.0
        return answer is not None

    def pass_on(self) -> None:
        """Give the token back, for a sleeping worker."""
        if self._connection is not None and not self._until:
            try:
                self._connection.run((b"RPUSH", self._keys[0], b"1"))
            except exceptions.RedisError:
                self.close()

    def close(self) -> None:
        self._forget()
        connection, self._connection, self._until = self._connection, None, 0.0
        if connection is not None:
            connection.close()

    def _forget(self) -> None:
        if self._registered is not None:
            self._selector.unregister(self._registered)
            self._registered = None
