"""`queues`: the configured connections, as ``django.core.cache.caches`` has the caches."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from asgiref.sync import sync_to_async

from djqueue.conf import ConnectionSettings, Settings, settings
from djqueue.dispatch import controls
from djqueue.drivers import make_driver
from djqueue.drivers.base import Driver, Inspector, QueueCounts, State, StoredJob
from djqueue.errors import UnknownState
from djqueue.payload.ids import check_id
from djqueue.payload.queue_names import check_queue_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import timedelta

__all__ = ["QueueConnection", "QueueConnections", "members", "queues"]

T = TypeVar("T")


class QueueConnection:
    """A configured connection, as one thread uses it. A queue of None is the configured one."""

    def __init__(self, connection: ConnectionSettings) -> None:
        self.settings = connection
        self.name = connection.name

    @cached_property
    def driver(self) -> Driver:
        """What speaks to the store; made at the first use."""
        return make_driver(self.settings)

    @cached_property
    def inspector(self) -> Inspector:
        """What operators look through."""
        return self.driver.inspector()

    def counts(self, queue: str | None = None) -> QueueCounts:
        """``waiting delayed reserved oldest_at``; None where the store cannot tell."""
        return self.inspector.counts(self.check(queue))

    def size(self, queue: str | None = None) -> int:
        """How many jobs the queue holds: waiting, delayed and reserved ones."""
        counts = self.counts(queue)
        return sum(number or 0 for number in (counts.waiting, counts.delayed, counts.reserved))

    def is_empty(self, queue: str | None = None) -> bool:
        """Whether the queue holds nothing, not even delayed or running jobs."""
        return not self.size(queue)

    def peek(
        self, queue: str | None = None, state: State | str = State.WAITING, limit: int = 20
    ) -> list[StoredJob]:
        """Jobs in `state` (``waiting delayed reserved stuck``), next to run first."""
        try:
            wanted = State(state)
        except ValueError:
            known = ", ".join(each.value for each in State)
            raise UnknownState(
                f"{state!r:.50} is not a state of a job: use one of {known}."
            ) from None
        return self.inspector.peek(self.check(queue), wanted, limit)

    def remove(self, queue: str | None, ids: Sequence[str]) -> int:
        """Delete waiting, delayed and stuck jobs by id; how many there were."""
        return self.inspector.remove(self.check(queue), [check_id(each) for each in ids])

    def clear(self, queue: str | None = None) -> int:
        """Delete what waits or is delayed, and spare what runs; how many there were."""
        return self.inspector.clear(self.check(queue))

    def pause(
        self,
        queue: str | None = None,
        for_: timedelta | float | None = None,
        reason: str = "",
    ) -> None:
        """Let no worker begin another job of the queue, for so long or until `resume`."""
        for name in self.members:
            controls.pause(name, self.check(queue), for_=for_, reason=reason)

    def resume(self, queue: str | None = None) -> bool:
        """End a pause; whether there was one."""
        return sum(controls.resume(name, self.check(queue)) for name in self.members) > 0

    def is_paused(self, queue: str | None = None) -> bool:
        """Whether the queue, or every queue, is paused."""
        return all(controls.is_paused(name, self.check(queue)) for name in self.members)

    # -- the same for coroutines, on the thread that Django's ORM uses for them ------------------

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
        """Each thread has connections of its own, so it is that thread's which is asked."""
        answer: T = await sync_to_async(lambda: ask(queues[self.name]))()
        return answer

    @property
    def members(self) -> Sequence[str]:
        """The connections that workers run for: this one, or those it passes its jobs on to."""
        return self.driver.members or (self.name,)

    def check(self, queue: str | None) -> str:
        """The name of a queue of this connection. `QueueError` if it cannot be one."""
        if queue is None:
            return self.settings.queue
        return check_queue_name(queue, tagged=self.driver.capabilities.tagged_queues)

    def close(self) -> None:
        """Close the driver's connections; the next use opens them again."""
        if "driver" in self.__dict__:
            self.driver.close()

    def __repr__(self) -> str:
        return f"<QueueConnection {self.name}>"


class QueueConnections:
    """Connections by name. Each thread has instances of its own, and they follow the settings."""

    def __init__(self) -> None:
        self._local = threading.local()

    def __getitem__(self, name: str | None) -> QueueConnection:
        """The connection called `name`; None is the default one. Raises `UnknownConnection`."""
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
        """Close what this thread has open."""
        for connection in self._state()[1].values():
            connection.close()

    def _state(self) -> tuple[Settings, dict[str, QueueConnection]]:
        current = settings()
        state: tuple[Settings, dict[str, QueueConnection]] | None
        state = getattr(self._local, "state", None)
        if state is None or state[0] is not current:
            # Not closed: a connection may be the project's own, in the middle of a transaction.
            state = self._local.state = (current, {})
        return state


queues = QueueConnections()


def members(connection: str | None) -> list[str]:
    """The connections that keep the jobs of one: itself, or those that it passes them on to."""
    return list(queues[connection].members)
