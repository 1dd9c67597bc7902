"""The driver that throws every job away: for tests, and to switch a queue off."""

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

if TYPE_CHECKING:
    from collections.abc import Sequence


class NullDriver(Driver):
    """Keeps nothing, so it has nothing to hand out, and whatever it is asked about is lost."""

    capabilities = Capabilities(discards=True)

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        """Throw `jobs` away."""

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
