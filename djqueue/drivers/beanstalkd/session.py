"""What a worker does on beanstalkd, over its one connection.

A reservation belongs to that connection, and is lost with it: a dead worker needs no lease to be
noticed. While the worker lives, beanstalkd holds each job for the seconds that its body says, and
`extend` renews them. Settlements and the next reservations share one request.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from djqueue.drivers import clock
from djqueue.drivers.beanstalkd import client, message
from djqueue.drivers.beanstalkd.client import Client
from djqueue.drivers.beanstalkd.inspection import has_job
from djqueue.drivers.beanstalkd.message import Message, tube
from djqueue.drivers.beanstalkd.reserving import Reserving
from djqueue.drivers.beanstalkd.settling import Pair, Settling
from djqueue.drivers.beanstalkd.wakeup import WaitingConnection
from djqueue.drivers.guard import Guard
from djqueue.drivers.guard.holdings import Holding
from djqueue.drivers.guard.session import GuardedSession
from djqueue.drivers.types import Exchange, Reservation, Settlement, Verdict, Wakeup
from djqueue.errors import QueueUnavailable

BUSY_FOR = 1
"""Seconds after which a job that another worker seems to hold is looked at again."""
FRESH = 0.25
"""The part of a reservation's time in which it is certain to be ours still."""
SHORTEST = 10.0
"""Seconds that every reservation of a job of ours holds, whichever process pushed it."""


class BeanstalkdSession(GuardedSession[Message]):
    """The reservations of one worker."""

    def __init__(
        self, connection: Client, waiting: Client, guard: Guard, hold_for: int, block_for: int
    ) -> None:
        super().__init__(guard)
        self._client = connection
        self._waiting_client = waiting
        self._block_for = block_for
        """Seconds that a waiting connection waits for a job; 0: there is none."""
        self._hold_for = hold_for
        self._fresh_for = FRESH * min(hold_for, SHORTEST)
        self._settling = Settling(connection, guard, self._holdings, hold_for)
        self._reserving = Reserving(connection)
        self._refused: list[Message] = []
        """What was reserved, could not be handed out, and goes back."""
        self._opening = 0
        """The connection that `lost_hold` saw last, or 0."""
        self._holds_some = False
        """Something was reserved since `lost_hold` saw another connection."""

    def join(self) -> None:
        """Keep the connection open while the server is silent, from now on: a job that is reserved
        is lost when it closes.
        """
        self._client.keep_for = float(self._hold_for)

    @property
    def lease(self) -> float:
        """The shortest time for which beanstalkd holds any job of this worker: each job brings its
        own from the process that pushed it.
        """
        times = (holding.message.hold_for or self._hold_for for holding in self._holdings)
        return float(min(times, default=self._hold_for))

    def lost_hold(self) -> bool:
        if self._opening == self._client.openings and self._client.is_open:
            return False
        self._opening = self._client.openings if self._client.is_open else 0
        lost, self._holds_some = self._holds_some, False
        return lost

    # -- the exchange --------------------------------------------------------------------------

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        return super().exchange(settlements, [tube(queue) for queue in queues], limit)

    def settle(self, settlements: Sequence[Settlement]) -> set[str]:
        """Settle. A cancelled job leaves its tube, and its outcome is ignored."""
        cancelled = self._guard.cancelled([each.reservation.id for each in settlements])
        return super().settle(settlements) | cancelled

    def _trade(
        self, mine: Sequence[Pair], queues: Sequence[str], limit: int
    ) -> tuple[set[str], list[Message]]:
        self._client.ensure_open()
        self._give_back()
        opening, now = self._client.openings, clock.now()
        lost = self._settling.resolve([p for p in mine if p[1].message.opening != opening])
        mine = [pair for pair in mine if pair[1].message.opening == opening]
        fresh: list[Pair] = []
        others: list[Pair] = []
        for pair in mine:
            (fresh if self._is_fresh(pair, now) else others).append(pair)
        wanted = self._reserving.want(queues, limit)
        ending = [client.delete(holding.message.key) for _, holding in fresh]
        ending += [client.touch(holding.message.key) for _, holding in others]
        for _, holding in fresh:
            holding.settling = True
        replies = self._client.ask(
            [*ending, *wanted.first], watch=wanted.tubes[:1] or None, opening=opening
        )
        first = wanted.tubes[0] if wanted.tubes else ""
        found = self._reserving.read(replies[len(ending) :], first, now)
        try:
            lost |= self._settling.note_answers([*fresh, *others], replies[: len(ending)])
            held = [pair for pair in others if pair[1].message.key in self._holdings]
            if held:
                lost |= self._settling.settle(held)
            self._reserving.add_rest(wanted, found, now)
            if self._reserving.waiting is not None:
                self._reserving.waiting.look_at(self._client)
        except QueueUnavailable:
            self._refuse(found)
            raise
        self._note_hold(found)
        return lost, found

    def _is_fresh(self, pair: Pair, now: float) -> bool:
        """Return whether a job may be deleted without a touch. A job that another program has put
        may be held for a shorter time.
        """
        settlement, holding = pair
        if settlement.verdict is not Verdict.REMOVE or holding.message.foreign:
            return False
        return now - holding.message.since < self._fresh_for

    def _note_hold(self, reserved: Sequence[Message]) -> None:
        if reserved and not self._holds_some:
            self._opening, self._holds_some = self._client.openings, True

    def _delete(self, messages: Sequence[Message]) -> None:
        self._client.ask([client.delete(each.key) for each in messages])

    def _postpone(self, messages: Sequence[Message]) -> None:
        self._client.ask([_release(each, BUSY_FOR) for each in messages])

    def _has(self, stored_as: str, id: str) -> bool:
        return not stored_as.isdigit() or has_job(self._client, int(stored_as), id)

    def _refuse(self, messages: Sequence[Message]) -> None:
        """Note jobs that cannot be handed out, to put them back soon: the server would hold them as
        long as the connection is open.
        """
        self._refused += messages
        if self._client.is_open and not self._client.is_silent:
            self._give_back()

    def _give_back(self) -> None:
        """Put back jobs that were refused, and jobs that answers reserved too late."""
        if self._client.is_silent:
            self._client.ask(())  # what it owes us comes first
        late, self._client.late = self._client.late, []
        refused, self._refused = self._refused, []
        refused += [message.decode(reply.data, "", reply.number) for reply in late]
        if refused:
            with suppress(QueueUnavailable):  # the server gives them back by itself, later
                self._client.ask([_release(each, 0) for each in refused])

    # -- holding -------------------------------------------------------------------------------

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        lost = super().extend(reservations)
        with suppress(QueueUnavailable):  # they are held all the same while the database is away
            lost |= self._guard.cancelled([reservation.id for reservation in reservations])
        return lost

    def _renew(self, holdings: Sequence[Holding[Message]]) -> list[Holding[Message]]:
        self._client.ensure_open()
        self._give_back()
        now, opening = clock.now(), self._client.openings
        gone = [holding for holding in holdings if holding.message.opening != opening]
        kept = [holding for holding in holdings if holding.message.opening == opening]
        commands = [client.touch(holding.message.key) for holding in kept]
        replies = self._client.ask(commands, opening=opening)
        for holding, reply in zip(kept, replies, strict=True):
            if reply.word == "TOUCHED":
                holding.message = holding.message._replace(since=now)
            else:
                gone.append(holding)
        # What has vanished although it is ours runs nowhere else.
        return self._settling.look_for([each for each in gone if not each.settling])[1]

    # -- waiting -------------------------------------------------------------------------------

    def watch(self, queues: Sequence[str]) -> Wakeup | None:
        (by_id,) = self._client.ask([client.reserve_job(0)])  # no job has that number
        if not self._block_for or by_id.word == "UNKNOWN_COMMAND":
            return None
        tubes = [tube(queue) for queue in queues]
        waiting = WaitingConnection(self._waiting_client, tubes, self._block_for)
        self._reserving.waiting = waiting
        return waiting


def _release(job: Message, delay: int) -> bytes:
    """Return the command that puts it back, to be reserved again after `delay` seconds."""
    return client.release(job.key, message.urgency(job.priority), delay)
