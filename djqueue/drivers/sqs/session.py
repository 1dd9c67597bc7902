"""What a worker holds in SQS: how it receives, renews and ends it.

SQS may deliver a message twice, and lets nobody fence a delete. The guard row decides: what it says
is over is deleted when it comes again, what its holder keeps alive is left alone, and every end is
written there first.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from djqueue.drivers.base import Exchange, OutgoingJob, Reservation, Settlement, Verdict
from djqueue.drivers.guard import Guard, GuardRow, GuardState
from djqueue.drivers.sqs import names
from djqueue.drivers.sqs.client import BATCH, Client, QueueRefused, tens
from djqueue.drivers.sqs.holding import Holding, Received, again, delay_of, reservation_of
from djqueue.drivers.sqs.message import Message

MOST_ROUNDS = 50
"""Times in one exchange that nothing but what is over may be received."""


class Holdings:
    """The reservations of one worker."""

    def __init__(
        self,
        client: Client,
        guard: Guard,
        lease: int,
        wait: int,
        park: Callable[[Sequence[OutgoingJob], int], None],
    ) -> None:
        self._client = client
        self._guard = guard
        self._lease = lease
        self._wait = wait
        self._park = park
        self._held: dict[str, Holding] = {}
        """By SQS's id of the message."""
        self._told: set[Any] = set()
        """Handles of what this exchange has settled so far."""
        self.orphans: list[Reservation] = []
        """What dead workers left, taken over and not handed out yet."""

    def forget(self) -> None:
        """In a child process: nothing of this is ours."""
        self._held = {}
        self.orphans = []

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        """As `Driver.exchange`."""
        with self._client.patiently():
            lost = self._settle(settlements) if settlements else set()
            reservations = self._reserve(queues, limit) if limit > 0 else []
        self._told.clear()
        return Exchange(lost, reservations)

    # -- settling ------------------------------------------------------------------------------

    def _settle(self, settlements: Sequence[Settlement]) -> set[str]:
        lost: set[str] = set()
        mine: list[tuple[Settlement, Holding]] = []
        for settlement in settlements:
            holding = self._holds(settlement.reservation)
            if settlement.reservation.handle in self._told:
                continue
            if holding is None:
                lost.add(settlement.reservation.id)
            else:
                mine.append((settlement, holding))
        late = [(s, h) for s, h in mine if delay_of(s) > h.hideable(time.monotonic())]
        lost |= self._put_on_record(mine, late)
        for _, holding in mine:
            if holding.reservation.id not in lost:
                self._held[holding.message.message] = holding._replace(recorded=True)
        self._tell([(s, h) for s, h in mine if s.reservation.id not in lost], late)
        self._let_go(holding for _, holding in mine)
        return lost

    def _let_go(self, holdings: Iterable[Holding]) -> None:
        """SQS knows how these ended. If the rest of the exchange fails, they are settled again."""
        for holding in holdings:
            if self._held.pop(holding.message.message, None) is not None:
                self._told.add(holding.reservation.handle)

    def _holds(self, reservation: Reservation) -> Holding | None:
        message, number = reservation.handle
        holding = self._held.get(message)
        return holding if holding is not None and holding.held.number == number else None

    def _put_on_record(
        self,
        mine: Sequence[tuple[Settlement, Holding]],
        late: Sequence[tuple[Settlement, Holding]],
    ) -> set[str]:
        """SQL first: after it, nothing that SQS does twice does harm. The ids that were lost."""
        over = [h.held for s, h in mine if s.verdict is Verdict.REMOVE]
        parked = {h.message.message for _, h in late}
        kept = [
            (s, h.held.number)
            for s, h in mine
            if s.verdict is not Verdict.REMOVE and h.message.message not in parked
        ]
        lost = self._guard.end(over) if over else set()
        lost |= self._guard.put_back(kept) if kept else set()
        return lost | self._put_away_late(late)

    def _put_away_late(self, late: Sequence[tuple[Settlement, Holding]]) -> set[str]:
        """Park what is due later than SQS can hide it, once: this may be a repetition, because SQS
        could not be reached to delete the message. The ids that were lost.
        """
        lost: set[str] = set()
        for settlement, holding in late:
            number = holding.held.number
            with self._guard.transaction():
                if self._guard.put_back_once(settlement, number):
                    self._park([again(settlement, holding)], number)
                else:
                    lost |= self._guard.put_back([(settlement, number)])
        return lost

    def _tell(
        self,
        settled: Sequence[tuple[Settlement, Holding]],
        late: Sequence[tuple[Settlement, Holding]],
    ) -> None:
        parked = {holding.message.message for _, holding in late}
        deleted: dict[str, list[Holding]] = defaultdict(list)
        hidden: dict[str, list[tuple[Holding, int]]] = defaultdict(list)
        for settlement, holding in settled:
            message = holding.message
            if settlement.verdict is Verdict.REMOVE or message.message in parked:
                deleted[holding.url].append(holding)
            else:
                hidden[holding.url].append((holding, math.ceil(delay_of(settlement))))
        # Rows are written: a queue that is gone, or not ours any more, has nothing to be told.
        for url, holdings in deleted.items():
            for some in tens(holdings):
                with suppress(QueueRefused):
                    self._client.delete(url, [holding.message.receipt for holding in some])
                self._let_go(some)
        for url, times in hidden.items():
            for few in tens(times):
                with suppress(QueueRefused):
                    self._client.hide(url, [(h.message.receipt, seconds) for h, seconds in few])
                self._let_go(holding for holding, _ in few)

    # -- reserving -----------------------------------------------------------------------------

    def _reserve(self, queues: Sequence[str], limit: int) -> list[Reservation]:
        """Where all that is received is over already, what is behind it: a worker takes an empty
        answer for an empty queue.
        """
        for _ in range(MOST_ROUNDS):
            received = self._receive(queues, limit)
            reservations, over = self._hand_out(received) if received else ([], 0)
            if reservations or not over:
                break
        return reservations

    def _receive(self, queues: Sequence[str], limit: int) -> list[Received]:
        """Up to `limit` messages, queue after queue.

        Waits for the first one if nothing is held, since nobody else is kept waiting then.
        """
        wait = self._wait if not self._held and len(queues) == 1 else 0
        if not self._client.may_wait(wait):
            wait = 0
        found: list[Received] = []
        refused: QueueRefused | None = None
        for queue in queues:
            url = self._client.url(queue)
            try:
                here = self._receive_from(url, limit - len(found), wait)
            except QueueRefused as error:  # the others can be read all the same
                refused = error
                continue
            found += [Received(queue, url, message) for message in here]
        if refused is not None and not found:
            raise refused
        return found

    def _receive_from(self, url: str, limit: int, wait: int) -> list[Message]:
        found: list[Message] = []
        vain = 0
        while len(found) < limit and vain < (2 if found else 1):
            some = self._client.receive(url, min(limit - len(found), BATCH), self._lease, wait)
            # A request that does not wait asks some of SQS's servers only: one more, to be sure.
            vain = 0 if some else vain + 1
            wait = 0
            found += self._in_order(url, some, found) if names.is_fifo(url) else some
        return found

    def _in_order(
        self, url: str, some: Sequence[Message], before: Iterable[Message]
    ) -> list[Message]:
        """The first message of each group; the others go back, behind it. SQS keeps them there
        until the first one is over, whatever becomes of it.
        """
        groups = {message.group for message in before}
        first: list[Message] = []
        back: list[tuple[str, int]] = []
        for message in some:
            if message.group in groups:
                back.append((message.receipt, 0))
            else:
                groups.add(message.group)
                first.append(message)
        if back:
            self._client.hide(url, back)
        return first

    def _hand_out(self, received: Sequence[Received]) -> tuple[list[Reservation], int]:
        """Put on record what was received; the reservations for the worker, and how many messages
        were of jobs that are over.
        """
        taken = self._take(received)
        now = time.monotonic()
        reservations: list[Reservation] = []
        for each, row in zip(received, taken, strict=True):
            key = each.message.message
            if row.state is GuardState.OURS:
                self._held[key] = self._held[key]._replace(message=each.message, received=now)
            elif row.state in (GuardState.READY, GuardState.ORPHANED):
                reservation = reservation_of(each, row)
                self._held[key] = Holding(reservation, each.message, each.url, now)
                ready = row.state is GuardState.READY
                (reservations if ready else self.orphans).append(reservation)
        states = [row.state for row in taken]
        self._put_away(received, states)
        return reservations, states.count(GuardState.ENDED)

    def _take(self, received: Sequence[Received]) -> list[GuardRow]:
        ours = {h.held.id: h.held.number for h in self._held.values()}
        return self._guard.take([each.message.found for each in received], ours)

    def _put_away(self, received: Sequence[Received], states: Sequence[GuardState]) -> None:
        """What was received and is not to run: it is over, or somebody is still at it."""
        later = math.ceil(self._lease / 3)
        over: dict[str, list[str]] = defaultdict(list)
        busy: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for each, state in zip(received, states, strict=True):
            if state is GuardState.ENDED:
                over[each.url].append(each.message.receipt)
            elif state is GuardState.BUSY:
                busy[each.url].append((each.message.receipt, later))
        for url, receipts in over.items():
            self._client.delete(url, receipts)
        for url, times in busy.items():
            self._client.hide(url, times)

    # -- holding -------------------------------------------------------------------------------

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        """As `Driver.extend`."""
        with self._client.patiently():
            return self._extend(reservations)

    def _extend(self, reservations: Sequence[Reservation]) -> set[str]:
        known = [(r, self._holds(r)) for r in (*reservations, *self.orphans)]
        lost = {r.id for r, holding in known if holding is None}
        # What is on record needs no sign of life, and has not been lost: SQS is still to be told.
        holdings = [h for _, h in known if h is not None and not h.recorded]
        gone = self._renew(holdings) if holdings else set()
        for holding in holdings:
            if holding.reservation.id in gone:
                del self._held[holding.message.message]
        self.orphans = [orphan for orphan in self.orphans if orphan.id not in gone]
        return lost | gone

    def _renew(self, holdings: Sequence[Holding]) -> set[str]:
        """The row alone decides, even when SQS hides the message no longer."""
        now = time.monotonic()
        lost = self._guard.extend([h.held for h in holdings])
        hidden: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for holding in holdings:
            seconds = min(self._lease, holding.hideable(now))
            if holding.reservation.id not in lost and seconds > 0:
                hidden[holding.url].append((holding.message.receipt, seconds))
        for url, times in hidden.items():
            with suppress(QueueRefused):
                self._client.hide(url, times)
        return lost

    def unacknowledged(self, known: Sequence[Reservation]) -> list[Reservation]:
        """As `Driver.unacknowledged`."""
        handles = {reservation.handle for reservation in (*known, *self.orphans)}
        held = [holding.reservation for holding in self._held.values()]
        return [reservation for reservation in held if reservation.handle not in handles]
