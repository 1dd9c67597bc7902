"""A store for tests that need no other answers than its own."""

from __future__ import annotations

from djqueue.drivers.base import Exchange, Session


class Empty(Session):
    """Settles what it is given, and has nothing else."""

    lease = 60.0

    def exchange(self, settlements, queues, limit):
        return Exchange(set(), [])

    def extend(self, reservations):
        return set()

    def reset_connection(self, error):
        pass
