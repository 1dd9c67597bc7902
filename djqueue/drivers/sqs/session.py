"""What a worker does on SQS.

SQS may deliver a message twice, and lets any receiver delete it. So the guard row decides: every
end is written there first, a message whose job has ended there is deleted when it comes again, and
one whose worker is alive is left alone. A message is hidden from other workers for a lease, which
`extend` renews, and for twelve hours at most: a longer delay is parked in `djqueue_outbox`.
"""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from djqueue.drivers.guard import Guard
from djqueue.drivers.guard.holdings import Holding
from djqueue.drivers.guard.session import GuardedSession
from djqueue.drivers.slices import slices
from djqueue.drivers.sqs import checks
from djqueue.drivers.sqs.client import BATCH, Client, QueueRefused, is_fifo
from djqueue.drivers.sqs.message import Message
from djqueue.drivers.types import Exchange, OutgoingJob, Reservation, Settlement, Verdict

logger = logging.getLogger("djqueue.worker")

LONGEST_HIDING = 12 * 3600
"""Seconds from its reception in which SQS can keep a message from others."""

Pair = tuple[Settlement, Holding[Message]]
Park = Callable[[Sequence[OutgoingJob], int], None]
"""Parks jobs that a reservation of that number releases."""


class SqsSession(GuardedSession[Message]):
    """The reservations of one worker."""

    def __init__(self, client: Client, guard: Guard, lease: int, wait: int, park: Park) -> None:
        super().__init__(guard)
        self._client = client
        self._lease = lease
        self._wait = wait
        """Seconds for which SQS may keep a request that finds nothing."""
        self._park = park

    def join(self) -> None:
        """Log what is wrong with the worker's queues. The banner has the configured one."""
        for queue in self.worker.queues if self.worker else ():
            if queue != self._client.queue:
                for warning in checks.warnings(self._client, queue):
                    logger.warning("%s", warning)

    @property
    def lease(self) -> float:
        return float(self._lease)

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        with self._client.patiently():
            return super().exchange(settlements, queues, limit)

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        with self._client.patiently():
            return super().extend(reservations)

    def _trade(
        self, mine: Sequence[Pair], queues: Sequence[str], limit: int
    ) -> tuple[set[str], list[Message]]:
        lost = self._settle(mine) if mine else set()
        return lost, self._receive(queues, limit) if limit > 0 else []

    # -- settling ------------------------------------------------------------------------------

    def _settle(self, mine: Sequence[Pair]) -> set[str]:
        now = time.monotonic()
        late = {h for s, h in mine if _delay(s) > _hideable(h, now)}
        lost = self._record(mine, late)
        kept = [(s, h) for s, h in mine if s.reservation.id not in lost]
        for _, holding in kept:
            holding.settling = True
        self._tell(kept, late)
        return lost | self._holdings.lose(h for s, h in mine if s.reservation.id in lost)

    def _record(self, mine: Sequence[Pair], late: set[Holding[Message]]) -> set[str]:
        """Write the rows, after which nothing that SQS does twice does harm. Return the lost
        ids.
        """
        ended = [h.claim for s, h in mine if s.verdict is Verdict.REMOVE]
        kept = [
            (s, h.claim.number)
            for s, h in mine
            if s.verdict is not Verdict.REMOVE and h not in late
        ]
        lost = self._guard.end(ended) if ended else set()
        lost |= self._guard.put_back(kept) if kept else set()
        for settlement, holding in mine:
            if holding in late:
                lost |= self._record_late(settlement, holding)
        return lost

    def _record_late(self, settlement: Settlement, holding: Holding[Message]) -> set[str]:
        """Park a job that is due later than SQS can hide it: once, since this call is repeated when
        SQS could not be reached to delete the message. Return its id if it is lost.
        """
        number = holding.claim.number
        with self._guard.transaction():
            if not self._guard.put_back_once(settlement, number):
                return self._guard.put_back([(settlement, number)])
            self._park([holding.message.another(settlement.delay, number)], number)
        return set()

    def _tell(self, kept: Sequence[Pair], late: set[Holding[Message]]) -> None:
        """Delete messages, or let them be received again. Their rows are written: a queue that is
        deleted, or not ours any more, needs no request.
        """
        deleted: dict[str, list[Holding[Message]]] = defaultdict(list)
        hidden: dict[str, list[tuple[Holding[Message], int]]] = defaultdict(list)
        for settlement, holding in kept:
            url = holding.message.url
            if settlement.verdict is Verdict.REMOVE or holding in late:
                deleted[url].append(holding)
            else:
                hidden[url].append((holding, math.ceil(_delay(settlement))))
        for url, holdings in deleted.items():
            for some in slices(holdings, BATCH):
                with suppress(QueueRefused):
                    self._client.delete(url, [holding.message.receipt for holding in some])
                self._holdings.settle(some)
        for url, times in hidden.items():
            for few in slices(times, BATCH):
                with suppress(QueueRefused):
                    self._client.hide(url, [(h.message.receipt, seconds) for h, seconds in few])
                self._holdings.settle(holding for holding, _ in few)

    # -- receiving -----------------------------------------------------------------------------

    def _receive(self, queues: Sequence[str], limit: int) -> list[Message]:
        """Receive up to `limit` messages, queue after queue. A worker that holds nothing waits for
        the first one: no job of its own is kept waiting.
        """
        wait = self._wait if not self._holdings and len(queues) == 1 else 0
        if not self._client.may_wait(wait):
            wait = 0
        found: list[Message] = []
        refused: QueueRefused | None = None
        for queue in queues:
            fifo = is_fifo(self._client.url(queue))
            try:
                found += self._receive_from(queue, fifo, limit - len(found), wait)
            except QueueRefused as error:  # the others can be read all the same
                refused = error
        if refused is not None and not found:
            raise refused
        return found

    def _receive_from(self, queue: str, fifo: bool, limit: int, wait: int) -> list[Message]:
        found: list[Message] = []
        vain = 0
        while len(found) < limit and vain < (2 if found else 1):
            some = self._client.receive(queue, min(limit - len(found), BATCH), self._lease, wait)
            # A request that does not wait asks some of SQS's servers only: one more, to be sure.
            vain = 0 if some else vain + 1
            wait = 0
            found += self._first_of_groups(some, found) if fifo else some
        return found

    def _first_of_groups(self, some: Sequence[Message], before: Iterable[Message]) -> list[Message]:
        """Return the first message of each group; the others go back, behind it. SQS keeps them
        there until the first one is settled.
        """
        groups = {message.group for message in before}
        first: list[Message] = []
        back: list[Message] = []
        for message in some:
            (back if message.group in groups else first).append(message)
            groups.add(message.group)
        self._hide(back, 0)
        return first

    # -- what is not handed out ----------------------------------------------------------------

    def _delete(self, messages: Sequence[Message]) -> None:
        for url, some in _by_url(messages).items():
            self._client.delete(url, [message.receipt for message in some])

    def _postpone(self, messages: Sequence[Message]) -> None:
        self._hide(messages, math.ceil(self._lease / 3))

    def _hide(self, messages: Sequence[Message], seconds: int) -> None:
        for url, some in _by_url(messages).items():
            self._client.hide(url, [(message.receipt, seconds) for message in some])

    def _has(self, stored_as: str, id: str) -> bool:
        """Return True: SQS cannot be asked for one message. The lease in the row says whether a
        worker lives.
        """
        return True

    # -- holding -------------------------------------------------------------------------------

    def _renew(self, holdings: Sequence[Holding[Message]]) -> list[Holding[Message]]:
        """Renew. The row alone decides, even when SQS hides the message no longer. What is recorded
        needs no renewal, and is not lost: only SQS has to be informed.
        """
        holdings = [holding for holding in holdings if not holding.settling]
        if not holdings:
            return []
        now = time.monotonic()
        lost = self._guard.extend([holding.claim for holding in holdings])
        hidden: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for holding in holdings:
            seconds = min(self._lease, _hideable(holding, now))
            if holding.reservation.id not in lost and seconds > 0:
                hidden[holding.message.url].append((holding.message.receipt, seconds))
        for url, times in hidden.items():
            with suppress(QueueRefused):
                self._client.hide(url, times)
        return [holding for holding in holdings if holding.reservation.id in lost]


def _delay(settlement: Settlement) -> float:
    """Return the seconds for which the job is to be left alone."""
    return settlement.delay if settlement.verdict is Verdict.RELEASE else 0.0


def _hideable(holding: Holding[Message], now: float) -> int:
    """Return the seconds for which SQS may still keep a message from others."""
    return math.floor(LONGEST_HIDING - (now - holding.message.received) - 60)


def _by_url(messages: Iterable[Message]) -> dict[str, list[Message]]:
    groups: dict[str, list[Message]] = defaultdict(list)
    for message in messages:
        groups[message.url].append(message)
    return groups
