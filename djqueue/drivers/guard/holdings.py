"""What one worker holds in a guarded store: handed out, and not settled yet."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from djqueue.drivers.guard.state import Claim, Delivery, GuardRow
from djqueue.drivers.types import Reservation, Settlement


class Message(Protocol):
    """A job as the store has handed it out, read by its driver."""

    @property
    def key(self) -> Hashable:
        """The store's own id of this copy of the job."""

    @property
    def id(self) -> str:
        """See `Reservation.id`."""

    @property
    def queue(self) -> str:
        """The queue that it was received from."""

    @property
    def name(self) -> str:
        """See `OutgoingJob.name`."""

    @property
    def payload(self) -> str:
        """See `Reservation.payload`."""

    @property
    def push_id(self) -> str:
        """See `OutgoingJob.push_id`."""


M = TypeVar("M", bound=Message)


@dataclass(eq=False)
class Holding(Generic[M]):
    """A job that was handed out and not settled yet."""

    reservation: Reservation
    message: M
    """As the store handed it out the last time."""
    settling: bool = False
    """Its settlement has begun, and an error left it carried out by half. Until it is settled again
    it is unknown whether the job is lost, so `extend` does not say so."""

    @property
    def claim(self) -> Claim:
        """The claim, as its guard row knows it."""
        return Claim(self.reservation.id, int(self.reservation.handle[1]))


def delivery_of(message: Message) -> Delivery:
    """Return what a guard row needs to know about `message`."""
    return Delivery(message.id, str(message.key), message.push_id)


def holding_of(message: M, row: GuardRow) -> Holding[M]:
    """Return the holding of a job that is handed out as `row` says."""
    reservation = Reservation(
        message.id,
        message.queue,
        message.name,
        message.payload,
        row.attempts,
        row.interruptions,
        row.history,
        (message.key, row.number),
    )
    return Holding(reservation, message)


class Holdings(Generic[M]):
    """The holdings of one worker, by the store's own ids."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, Holding[M]] = {}
        self._settled: set[Any] = set()
        """Handles of what was settled by an exchange that has not returned yet."""
        self.orphans: list[Reservation] = []
        """What dead workers held: taken over by this one, and not handed out yet."""

    def __iter__(self) -> Iterator[Holding[M]]:
        return iter(self._by_key.values())

    def __len__(self) -> int:
        return len(self._by_key)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._by_key

    def __getitem__(self, key: Hashable) -> Holding[M]:
        return self._by_key[key]

    def find(self, reservation: Reservation) -> Holding[M] | None:
        """Return the holding of `reservation`, unless it is settled or lost."""
        holding = self._by_key.get(reservation.handle[0])
        same = holding is not None and holding.reservation.handle == reservation.handle
        return holding if same else None

    def find_all(
        self, settlements: Iterable[Settlement]
    ) -> tuple[list[tuple[Settlement, Holding[M]]], set[str]]:
        """Return settlements with their holdings, and the ids of those that are lost."""
        mine: list[tuple[Settlement, Holding[M]]] = []
        lost: set[str] = set()
        for settlement in settlements:
            holding = self.find(settlement.reservation)
            if holding is not None:
                mine.append((settlement, holding))
            elif settlement.reservation.handle not in self._settled:
                lost.add(settlement.reservation.id)
        return mine, lost

    @property
    def numbers(self) -> dict[str, int]:
        """Return the fencing numbers of what is held, by the jobs' ids."""
        reservations = (holding.reservation for holding in self._by_key.values())
        return {each.id: int(each.handle[1]) for each in reservations}

    def add(self, holding: Holding[M]) -> None:
        """Hold what is about to be handed out."""
        self._by_key[holding.message.key] = holding

    def settle(self, holdings: Iterable[Holding[M]]) -> None:
        """Hold no longer what is settled. That is remembered until the exchange returns: if the
        rest of it fails, its caller settles the same jobs again.
        """
        for holding in holdings:
            if self._by_key.pop(holding.message.key, None) is not None:
                self._settled.add(holding.reservation.handle)

    def returned(self) -> None:
        """Forget what was settled: the exchange is about to return, so its caller knows."""
        self._settled.clear()

    def lose(self, holdings: Iterable[Holding[M]]) -> set[str]:
        """Hold no longer what other workers have, or will be given. Return the ids of those
        jobs.
        """
        lost: set[str] = set()
        for holding in holdings:
            self._by_key.pop(holding.message.key, None)
            lost.add(holding.reservation.id)
        if lost:
            self.orphans = [orphan for orphan in self.orphans if orphan.id not in lost]
        return lost

    def take_orphans(self, limit: int) -> list[Reservation]:
        """Return up to `limit` orphans, which are handed out now."""
        taken, self.orphans = self.orphans[:limit], self.orphans[limit:]
        return taken

    def unacknowledged(self, known: Sequence[Reservation]) -> list[Reservation]:
        """Return the same as `Session.unacknowledged`."""
        handles = {reservation.handle for reservation in (*known, *self.orphans)}
        held = (holding.reservation for holding in self._by_key.values())
        return [reservation for reservation in held if reservation.handle not in handles]
