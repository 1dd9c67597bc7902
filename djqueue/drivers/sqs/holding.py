"""A message in a worker's hands."""

from __future__ import annotations

import math
from typing import NamedTuple

from djqueue.drivers.base import OutgoingJob, Reservation, Settlement, Verdict
from djqueue.drivers.guard import Claim, GuardRow
from djqueue.drivers.sqs.message import Message

LONGEST_HIDING = 12 * 3600
"""Seconds from its reception in which SQS can keep a message from others."""


class Holding(NamedTuple):
    """A message that was handed out and not settled yet."""

    reservation: Reservation
    message: Message
    url: str
    received: float
    """On this machine's monotonic clock."""
    recorded: bool = False
    """Its row knows how it ended; SQS does not yet."""

    @property
    def held(self) -> Claim:
        """As guard rows know it."""
        return Claim(self.reservation.id, int(self.reservation.handle[1]))

    def hideable(self, now: float) -> int:
        """Seconds for which SQS may still keep it from others."""
        return math.floor(LONGEST_HIDING - (now - self.received) - 60)


class Received(NamedTuple):
    """A message of a queue of ours."""

    queue: str
    url: str
    message: Message


def delay_of(settlement: Settlement) -> float:
    """Seconds for which the job is to be left alone."""
    return settlement.delay if settlement.verdict is Verdict.RELEASE else 0.0


def again(settlement: Settlement, holding: Holding) -> OutgoingJob:
    """The same push of the job, to be sent anew after a delay that SQS has no room for."""
    message, push = holding.message, holding.message.push_id or holding.message.id
    return OutgoingJob(
        message.id,
        settlement.reservation.queue,
        message.name,
        message.payload,
        settlement.delay,
        message.priority,
        message.group,
        # SQS would take a second message with the first one's for a repetition, and drop it.
        f"{push}-{holding.held.number}",
        message.push_id,
    )


def reservation_of(received: Received, row: GuardRow) -> Reservation:
    """What the worker is given."""
    message = received.message
    return Reservation(
        message.id,
        received.queue,
        message.name,
        message.payload,
        row.attempts,
        row.interruptions,
        row.history,
        (message.message, row.number),
    )
