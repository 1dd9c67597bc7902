"""The session of a guarded store: what SQS and beanstalkd share, over five verbs of the store."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic

from django.db import DatabaseError

from djqueue.drivers.base import Session
from djqueue.drivers.guard.guard import Guard
from djqueue.drivers.guard.holdings import (
    Holding,
    Holdings,
    M,
    delivery_of,
    holding_of,
)
from djqueue.drivers.guard.state import Claim, GuardRow, GuardState
from djqueue.drivers.types import Exchange, Reservation, Settlement, WorkerIdentity
from djqueue.errors import QueueUnavailable

MOST_ROUNDS = 50
"""Requests of one exchange in which the store hands out nothing but jobs that have ended."""


class GuardedSession(Session, Generic[M]):
    """Asks the guard rows about whatever the store hands out, and keeps what they let run.

    A store adds five verbs: `_trade`, `_delete`, `_postpone`, `_renew` and `_has`.
    """

    def __init__(self, guard: Guard) -> None:
        self.worker: WorkerIdentity | None = None
        """The worker whose session it is, if it is one's."""
        self._guard = guard
        self._holdings: Holdings[M] = Holdings()

    # -- the store's verbs ---------------------------------------------------------------------

    @abstractmethod
    def _trade(
        self, mine: Sequence[tuple[Settlement, Holding[M]]], queues: Sequence[str], limit: int
    ) -> tuple[set[str], list[M]]:
        """Settle `mine`, then receive up to `limit` messages of `queues`. Return the ids that are
        lost, and the messages. Both are one verb, so that one request can do both.
        """

    @abstractmethod
    def _delete(self, messages: Sequence[M]) -> None:
        """Delete messages of jobs that have ended. Those that stay are received again."""

    @abstractmethod
    def _postpone(self, messages: Sequence[M]) -> None:
        """Give back messages of jobs that another worker holds, to be received again later."""

    @abstractmethod
    def _renew(self, holdings: Sequence[Holding[M]]) -> list[Holding[M]]:
        """Hold all of them for another lease. Return those that are lost."""

    @abstractmethod
    def _has(self, stored_as: str, id: str) -> bool:
        """Return whether the store still has the copy `stored_as` of the job `id`, as far as it can
        tell. If not, a row that says that a worker holds it is out of date.
        """

    def _refuse(self, messages: Sequence[M]) -> None:
        """Give back messages that cannot be handed out, because the guard rows are unavailable.
        A store that does so by itself has nothing to do.
        """

    # -- the exchange --------------------------------------------------------------------------

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        mine, lost = self._holdings.find_all(settlements)
        also_lost, messages = self._trade(mine, queues, limit)
        reservations, ended = self._hand_out(messages)
        for _ in range(MOST_ROUNDS):  # a worker takes an empty answer for an empty queue
            if reservations or not ended:
                break
            reservations, ended = self._hand_out(self._trade((), queues, limit)[1])
        self._holdings.returned()
        return Exchange(lost | also_lost, reservations)

    def _hand_out(self, messages: Sequence[M]) -> tuple[list[Reservation], bool]:
        """Record what the store has handed out. Return the reservations for the worker, and whether
        some of the jobs have ended.
        """
        if not messages:
            return [], False
        reservations: list[Reservation] = []
        ended: list[M] = []
        busy: list[M] = []
        try:
            for message, row in zip(messages, self._take(messages), strict=True):
                if row.state is GuardState.READY:
                    reservations.append(self._hold(message, row))
                elif row.state is GuardState.ORPHANED:
                    self._holdings.orphans.append(self._hold(message, row))
                elif row.state is GuardState.OURS:
                    self._holdings[message.key].message = message
                else:
                    (ended if row.state is GuardState.ENDED else busy).append(message)
            if ended:
                self._delete(ended)
            if busy:
                self._postpone(busy)
        except QueueUnavailable:
            self._refuse([each for each in messages if each.key not in self._holdings])
            raise
        return reservations, bool(ended)

    def _take(self, messages: Sequence[M]) -> list[GuardRow]:
        """Return the rows of `messages`. A copy that the store no longer has holds up no other
        one.
        """
        ours = self._holdings.numbers
        jobs = [delivery_of(message) for message in messages]
        rows = self._guard.take(jobs, ours)
        busy = [
            place for place, row in enumerate(rows) if row.state is GuardState.BUSY and row.held_as
        ]
        held = {rows[place].held_as: jobs[place].id for place in busy}
        gone = {copy for copy, id in held.items() if not self._has(copy, id)}
        if places := [place for place in busy if rows[place].held_as in gone]:
            again = self._guard.take([jobs[place] for place in places], ours, gone)
            for place, row in zip(places, again, strict=True):
                rows[place] = row
        return rows

    def _hold(self, message: M, row: GuardRow) -> Reservation:
        holding = holding_of(message, row)
        self._holdings.add(holding)
        return holding.reservation

    # -- holding -------------------------------------------------------------------------------

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        lost: set[str] = set()
        holdings: list[Holding[M]] = []
        for reservation in (*reservations, *self._holdings.orphans):
            holding = self._holdings.find(reservation)
            if holding is None:
                lost.add(reservation.id)
            else:
                holdings.append(holding)
        return lost | self._holdings.lose(self._renew(holdings))

    @property
    def has_orphans(self) -> bool:
        return bool(self._holdings.orphans)

    def recover(self, limit: int, *, late: float = 0.0) -> list[Reservation]:
        """Return what `exchange` has found: the server itself gives back what a dead worker
        held.
        """
        return self._holdings.take_orphans(limit)

    def unacknowledged(self, known: Sequence[Reservation]) -> list[Reservation]:
        return self._holdings.unacknowledged(known)

    # -- guard rows ----------------------------------------------------------------------------

    def fence(self, reservation: Reservation) -> int:
        return int(reservation.handle[1])

    def guards(self, alias: str) -> bool:
        return self._guard.alias == alias

    def confirm_end(self, reservation: Reservation, *, over: bool) -> bool:
        claim = Claim(reservation.id, int(reservation.handle[1]))
        return self._guard.confirm_end(claim, over=over)

    def reset_connection(self, error: QueueUnavailable) -> None:
        """Close the connection to the database, if that is away. The store's own connection stays
        open: it has no state, or what is held belongs to it and is lost when it closes.
        """
        if isinstance(error.__cause__, DatabaseError):
            self._guard.close()
