"""Which queues there are: a set of names, for operators and for taking jobs over."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from djqueue.drivers.redis.servers.store import QueueDamaged
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.payload.queue_names import check_queue_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from djqueue.drivers.redis.servers.store import Store


class QueueNames:
    """A name is added at the first push of a process, and stays when the queue is empty."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._key = f"{prefix}:queues".encode()
        self._added: set[str] = set()

    def add(self, queue: str) -> None:
        """Make the queue known, unless this process has done so."""
        if queue not in self._added:
            self._store.run(self._key, (b"SADD", self._key, queue.encode()), again=True)
            self._added.add(queue)

    def all(self) -> list[str]:
        """Return every name, sorted; without those that cannot be names."""
        names = self._store.run(self._key, (b"SMEMBERS", self._key), again=True)
        return sorted(name.decode() for name in names if _can_be(name))

    def all_and(self, ours: Sequence[str]) -> list[str]:
        """Return `ours` first, then the others, if they can be read. A server that has forgotten
        ours gets them again, if it has room.
        """
        try:
            names = self.all()
        except QueueUnavailable as error:
            if not (isinstance(error, QueueDamaged) or self._store.place(self._key)):
                raise
            return list(ours)
        for queue in ours:
            if queue not in names:
                self._added.discard(queue)
                with suppress(QueueUnavailable):
                    self.add(queue)
        return list(dict.fromkeys([*ours, *names]))

    def forget(self) -> None:
        """Add every name again at its next push."""
        self._added.clear()


def _can_be(name: bytes) -> bool:
    """Return whether a queue may have that name: another program may have added anything."""
    try:
        check_queue_name(name.decode("ascii"), tagged=True)
    except (UnicodeDecodeError, QueueError):
        return False
    return True
