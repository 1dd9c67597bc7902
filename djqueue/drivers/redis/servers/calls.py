"""Running the scripts on the keys of a queue."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from djqueue.drivers.redis.keys import keys_of
from djqueue.drivers.redis.names import QueueNames
from djqueue.drivers.redis.servers.store import QueueDamaged
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from djqueue.drivers.redis.keys import Keys
    from djqueue.drivers.redis.scripts import Script
    from djqueue.drivers.redis.servers.store import Store
    from djqueue.drivers.redis.wakeup import RedisWakeup

MOST = 1000
"""Jobs that one script looks at most."""
BYTES = 1024 * 1024
"""Bytes of payload after which a script answers, though there be more: it keeps the whole server
from others as long as it runs."""


class Calls:
    """What is asked of a store: the connection that the three faces of a driver share."""

    def __init__(self, store: Store, prefix: str) -> None:
        self.store = store
        self.names = QueueNames(store, prefix)
        self.wakeups: list[RedisWakeup] = []
        """What listens, and is closed with the rest."""
        self._prefix = prefix

    def begin(self) -> None:
        """Begin a call to the driver: all that it asks is to be answered in its time."""
        self.store.begin()

    def close(self) -> None:
        """Close everything; the next call opens it again."""
        for wakeup in self.wakeups:
            wakeup.close()
        self.wakeups.clear()
        self.names.forget()
        self.store.close()

    def keys(self, queue: str) -> Keys:
        """Return the keys of `queue`."""
        return _keys(self._prefix, queue)

    def run(
        self, script: Script, queue: str, arguments: Iterable[Any], *, again: bool = False
    ) -> Any:
        """Run a script; `again` if running it twice does no harm."""
        keys = self.keys(queue)
        command = (*_beginning(script, keys), *arguments)
        return self.store.run(keys.body, command, script, again=again)

    def read(self, key: bytes, *command: Any) -> Any:
        """Run a command that changes nothing."""
        return self.store.run(key, command, again=True)

    def each(
        self, queues: Iterable[str], action: Callable[[str], bool], *, all_answer: bool = False
    ) -> QueueUnavailable | None:
        """Call `action` with each queue until it is False. An error is that queue's, or that of its
        node of a cluster: the other queues have their turn first. It is raised if none answers, or
        if they have to `all_answer`; otherwise the first one is returned.
        """
        first: QueueUnavailable | None = None
        has_answered = False
        away: set[object] = set()
        for queue in queues:
            place = self.store.place(self.keys(queue).body)
            if place in away:
                continue
            try:
                goes_on = action(queue)
                has_answered = True
                if not goes_on:
                    break
            except QueueDamaged as error:
                first = first or error
            except QueueUnavailable as error:
                first = first or error
                if place is None:
                    break
                away.add(place)
        if first is not None and (all_answer or not has_answered):
            raise first
        return first


def always(action: Callable[[str], None]) -> Callable[[str], bool]:
    """Return `action` as one that goes on with the next queue whatever happens."""

    def act(queue: str) -> bool:
        action(queue)
        return True

    return act


@lru_cache(maxsize=1024)
def _keys(prefix: str, queue: str) -> Keys:
    return keys_of(prefix, queue)


@lru_cache(maxsize=4096)
def _beginning(script: Script, keys: Keys) -> tuple[bytes | int, ...]:
    return script.call(keys)
