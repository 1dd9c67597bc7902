"""The driver that runs each job at once, in the process that dispatches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from djqueue.drivers.base import (
    Capabilities,
    Driver,
    Exchange,
    OutgoingJob,
    QueueCounts,
    Reservation,
    Settlement,
    State,
    StoredJob,
)
from djqueue.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence


class SyncDriver(Driver):
    """Keeps nothing: the dispatcher sees `Capabilities.inline` and runs the job."""

    capabilities = Capabilities(inline=True)

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        raise Unsupported(
            f'Connection "{self.settings.name}" keeps no jobs: what is dispatched to it runs in '
            "the process that dispatches. Push to another connection."
        )

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        return Exchange({settlement.reservation.id for settlement in settlements}, [])

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        return {reservation.id for reservation in reservations}

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
