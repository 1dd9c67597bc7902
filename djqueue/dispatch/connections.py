"""`queues`: the configured connections by name, as ``django.core.cache.caches`` for caches."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from asgiref.sync import sync_to_async

from djqueue.composition import removing
from djqueue.conf import ConnectionSettings, Settings, settings
from djqueue.dispatch import controls
from djqueue.drivers import make_driver
from djqueue.drivers.base import Change, Driver, Inspector, QueueCounts, State, StoredJob
from djqueue.errors import UnknownState
from djqueue.payload.ids import check_id
from djqueue.payload.queue_names import check_queue_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import timedelta

__all__ = ["QueueConnection", "QueueConnections", "driver_of", "members", "queues"]

T = TypeVar("T")


class QueueConnection:
    """A configured connection, as used by one thread. Where `queue` is None, the connection's
    configured queue is meant.
    """

    def __init__(self, connection: ConnectionSettings) -> None:
        self.settings = connection
        self.name = connection.name

    @cached_property
    def driver(self) -> Driver:
        """The driver, made at the first use."""
        return make_driver(self.settings)

    @property
    def inspector(self) -> Inspector:
        """The view of the store that operators use."""
        return removing.inspector_of(self.driver)

    def counts(self, queue: str | None = None) -> QueueCounts:
        """Return ``waiting delayed reserved oldest_at``; None for what the store does not know."""
        return self.inspector.counts(self.check(queue))

    def size(self, queue: str | None = None) -> int:
        """Return the number of waiting, delayed and reserved jobs."""
        counts = self.counts(queue)
        return sum(number or 0 for number in (counts.waiting, counts.delayed, counts.reserved))

    def is_empty(self, queue: str | None = None) -> bool:
        """Return whether the queue has no jobs at all: none waiting, delayed or running."""
        return not self.size(queue)

    def peek(
        self, queue: str | None = None, state: State | str = State.WAITING, limit: int = 20
    ) -> list[StoredJob]:
        """Return jobs in `state` (``waiting delayed reserved stuck``), the next to run first."""
        try:
            wanted = State(state)
        except ValueError:
            known = ", ".join(each.value for each in State)
            raise UnknownState(
                f"{state!r:.50} is not a state of a job: use one of {known}."
            ) from None
        return self.inspector.peek(self.check(queue), wanted, limit)

    def remove(self, queue: str | None, ids: Sequence[str]) -> int:
        """Delete waiting, delayed and stuck jobs by id. Return how many were deleted."""
        meant = {check_id(each): "" for each in ids}
        return len(removing.change(self.driver, Change.DELETE, self.check(queue), meant))

    def clear(self, queue: str | None = None) -> int:
        """Delete all waiting and delayed jobs; running ones stay. Return how many were deleted."""
        return removing.clear(self.driver, self.check(queue))

    def pause(
        self,
        queue: str | None = None,
        for_: timedelta | float | None = None,
        reason: str = "",
    ) -> None:
        """Stop workers from beginning jobs of the queue, for `for_` seconds or until `resume`."""
        for name in self.members:
            controls.pause(name, self.check(queue), for_=for_, reason=reason)

    def resume(self, queue: str | None = None) -> bool:
        """End a pause. Return whether the queue was paused."""
        return sum(controls.resume(name, self.check(queue)) for name in self.members) > 0

    def is_paused(self, queue: str | None = None) -> bool:
        """Return whether the queue, or every queue, is paused."""
        return all(controls.is_paused(name, self.check(queue)) for name in self.members)

    # -- for coroutines, on the thread that Django's ORM uses for them ----------------------------

    async def acounts(self, queue: str | None = None) -> QueueCounts:
        """`counts` for coroutines."""
        return await self._in_thread(lambda here: here.counts(queue))

    async def asize(self, queue: str | None = None) -> int:
        """`size` for coroutines."""
        return await self._in_thread(lambda here: here.size(queue))

    async def ais_empty(self, queue: str | None = None) -> bool:
        """`is_empty` for coroutines."""
        return await self._in_thread(lambda here: here.is_empty(queue))

    async def apeek(
        self, queue: str | None = None, state: State | str = State.WAITING, limit: int = 20
    ) -> list[StoredJob]:
        """`peek` for coroutines."""
        return await self._in_thread(lambda here: here.peek(queue, state, limit))

    async def aremove(self, queue: str | None, ids: Sequence[str]) -> int:
        """`remove` for coroutines."""
        return await self._in_thread(lambda here: here.remove(queue, ids))

    async def aclear(self, queue: str | None = None) -> int:
        """`clear` for coroutines."""
        return await self._in_thread(lambda here: here.clear(queue))

    async def apause(
        self,
        queue: str | None = None,
        for_: timedelta | float | None = None,
        reason: str = "",
    ) -> None:
        """`pause` for coroutines."""
        await self._in_thread(lambda here: here.pause(queue, for_, reason))

    async def aresume(self, queue: str | None = None) -> bool:
        """`resume` for coroutines."""
        return await self._in_thread(lambda here: here.resume(queue))

    async def _in_thread(self, ask: Callable[[QueueConnection], T]) -> T:
        """Call `ask` with the connection of the ORM's thread: connections belong to threads."""
        answer: T = await sync_to_async(lambda: ask(queues[self.name]))()
        return answer

    @property
    def members(self) -> Sequence[str]:
        """The names of the connections that keep its jobs, and that workers run for: the members
        of a failover connection, otherwise itself.
        """
        return self.driver.members or (self.name,)

    def check(self, queue: str | None) -> str:
        """Return the queue's name, validated. Raises `QueueError` for an impossible name."""
        if queue is None:
            return self.settings.queue
        return check_queue_name(queue, tagged=self.driver.capabilities.tagged_queues)

    def close(self) -> None:
        """Close the driver's connections to its store; the next use opens new ones."""
        if "driver" in self.__dict__:
            self.driver.close()

    def __repr__(self) -> str:
        return f"<QueueConnection {self.name}>"


class QueueConnections:
    """Connections by name. Each thread has its own instances; they follow changed settings."""

    def __init__(self) -> None:
        self._local = threading.local()

    def __getitem__(self, name: str | None) -> QueueConnection:
        """Return the connection called `name`, or the default one for None.

        Raises `UnknownConnection`.
        """
        known, made = self._state()
        try:
            return made[name or known.default]
        except KeyError:
            connection = QueueConnection(known.connection(name))
            made[connection.name] = connection
            return connection

    def __iter__(self) -> Iterator[str]:
        return iter(settings().connections)

    def __contains__(self, name: object) -> bool:
        return name in settings().connections

    def close_all(self) -> None:
        """Close the connections that this thread has opened."""
        for connection in self._state()[1].values():
            connection.close()

    def _state(self) -> tuple[Settings, dict[str, QueueConnection]]:
        current = settings()
        state: tuple[Settings, dict[str, QueueConnection]] | None
        state = getattr(self._local, "state", None)
        if state is None or state[0] is not current:
            # Not closed: the driver may use the project's connection, in an open transaction.
            state = self._local.state = (current, {})
        return state


queues = QueueConnections()


def driver_of(name: str) -> Driver:
    """Return the driver of a connection, as used by this thread."""
    return queues[name].driver


def members(connection: str | None) -> list[str]:
    """Return `QueueConnection.members` of the connection with this name."""
    return list(queues[connection].members)
