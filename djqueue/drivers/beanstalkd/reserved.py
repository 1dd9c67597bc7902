"""What a connection to beanstalkd has reserved, as values."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from djqueue.drivers.base import Reservation
from djqueue.drivers.beanstalkd import client, message
from djqueue.drivers.beanstalkd.client import Client, Reply
from djqueue.drivers.beanstalkd.message import Body
from djqueue.drivers.guard import Claim, GuardRow


class Reserved(NamedTuple):
    """A job that this connection has reserved."""

    job: int
    tube: str
    body: Body


class Holding(NamedTuple):
    """A job that was handed out and not settled yet."""

    reservation: Reservation
    body: Body
    since: float
    """When the server was last asked to hold it, on this machine's monotonic clock."""
    opening: int
    """The connection that holds it: see `Client.openings`."""

    @property
    def held(self) -> Claim:
        """As guard rows know it."""
        return Claim(self.reservation.id, int(self.reservation.handle[1]))

    def is_surely_held(self, now: float, span: float) -> bool:
        """Whether it was held less than `span` seconds ago, so that it may be deleted without a
        touch. What another program has put may end sooner.
        """
        return now - self.since < span and not self.body.foreign

    @property
    def may_have_copies(self) -> bool:
        """Whether the store may hold the same push once more: it was put again by whoever did not
        see the answer, or when the job was released. Its row outlives it then.
        """
        return bool(self.body.push_id) or self.reservation.attempt > 1


def reserved_in(replies: Sequence[Reply], tube: str) -> list[Reserved]:
    """What the answers to reserving from `tube` hold."""
    return [
        Reserved(reply.number, tube, message.decode(reply.data, tube, reply.number))
        for reply in replies
        if reply.word == "RESERVED"
    ]


def reservation_of(job: Reserved, row: GuardRow) -> Reservation:
    """What the worker is given."""
    return Reservation(
        job.body.id,
        job.tube,
        job.body.name,
        job.body.payload,
        row.attempts,
        row.interruptions,
        row.history,
        (job.job, row.number),
    )


def another_copy(job: Body, delay: float, hold_for: int) -> bytes:
    """The command that puts a job once more, as the same push."""
    data = job._replace(hold_for=hold_for, push_id=job.push_id or job.id).bytes
    return client.put(data, message.urgency(job.priority), message.whole_seconds(delay), hold_for)


def put_all(connection: Client, tube: str, commands: Mapping[int, bytes]) -> set[int]:
    """Send commands that put jobs into `tube`; the keys of those that the server took."""
    replies = connection.ask(list(commands.values()), use=tube)
    buried = [client.delete(reply.number) for reply in replies if reply.word == "BURIED"]
    if buried:
        connection.ask(buried)
    return {key for key, reply in zip(commands, replies, strict=True) if reply.word == "INSERTED"}


def release(reserved: Reserved, delay: int) -> bytes:
    """The command that puts it back, to be reserved again after `delay` seconds."""
    return client.release(reserved.job, message.urgency(reserved.body.priority), delay)


def seconds() -> float:
    """Seconds on a clock that counts while the machine sleeps, as beanstalkd's reservations do."""
    return time.clock_gettime(_CLOCK)


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
