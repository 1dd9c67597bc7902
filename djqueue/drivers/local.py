"""The drivers that keep no jobs: ``sync``, ``deferred`` and ``null``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from djqueue.drivers.base import (
    Capabilities,
    Driver,
    Exchange,
    Inspector,
    OutgoingJob,
    QueueCounts,
    Reservation,
    Session,
    Settlement,
    State,
    StoredJob,
    WorkerIdentity,
)
from djqueue.errors import QueueUnavailable, Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence


class EmptySession(Session):
    """Has nothing to hand out, and whatever it is asked about is lost."""

    def __init__(self, lease: float) -> None:
        self._lease = lease

    @property
    def lease(self) -> float:
        return self._lease

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        return Exchange({settlement.reservation.id for settlement in settlements}, [])

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        return {reservation.id for reservation in reservations}

    def reset_connection(self, error: QueueUnavailable) -> None:
        """Do nothing: there is no connection."""


class EmptyInspector(Inspector):
    """Finds nothing."""

    def counts(self, queue: str) -> QueueCounts:
        return QueueCounts(waiting=0, delayed=0, reserved=0)

    def queues(self) -> list[str]:
        return []

    def peek(
        self, queue: str, state: State, limit: int = 20, after: str | None = None
    ) -> list[StoredJob]:
        return []

    def find(self, ids: Sequence[str]) -> list[StoredJob]:
        return []

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool = False) -> int:
        return 0

    def release(self, queue: str, ids: Sequence[str]) -> int:
        return 0

    def clear(self, queue: str) -> int:
        return 0


class NullDriver(Driver):
    """Throws every job away: for tests, and to switch a queue off."""

    capabilities = Capabilities(discards=True)

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        """Throw `jobs` away."""

    def session(self, worker: WorkerIdentity | None = None) -> Session:
        return EmptySession(self.lease)

    def inspector(self) -> Inspector:
        return EmptyInspector(self.settings, self.capabilities)


class SyncDriver(NullDriver):
    """Runs each job at once, in the process that dispatches it: a dispatch sees
    `Capabilities.inline` and does so.
    """

    capabilities = Capabilities(inline=True)

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        raise Unsupported(
            f'Connection "{self.settings.name}" keeps no jobs: what is dispatched to it runs in '
            "the process that dispatches. Push to another connection."
        )


class DeferredDriver(SyncDriver):
    """Runs each job after the response of the request that dispatches it; outside a request, at
    once. A dispatch sees `Capabilities.after_response` and does so.
    """

    capabilities = Capabilities(inline=True, after_response=True)
