"""What beanstalkd's answers mean."""

from __future__ import annotations

from collections.abc import Sequence

from djqueue.drivers.base import Reservation
from djqueue.drivers.beanstalkd import body
from djqueue.drivers.beanstalkd.client import Reply
from djqueue.drivers.beanstalkd.ledger import Reserved
from djqueue.drivers.beanstalkd.wakeup import Called
from djqueue.drivers.guard import Guarded


def failed(reply: Reply) -> bool:
    """Whether the command did not do what it was to do."""
    return reply.word not in ("TOUCHED", "DELETED", "RELEASED", "RESERVED")


def reserved_in(
    replies: Sequence[Reply], called: Sequence[Called], tubes: Sequence[str]
) -> list[Reserved]:
    """What the answers to reserving hold: first those that were `called` by their ids."""
    found = []
    for position, reply in enumerate(replies):
        if reply.word == "RESERVED":
            tube = called[position].tube if position < len(called) else tubes[0]
            read = body.decode(reply.data, tube, reply.number)
            found.append(Reserved(reply.number, tube, read))
    return found


def reservation_of(job: Reserved, guarded: Guarded) -> Reservation:
    """What the worker is given."""
    return Reservation(
        job.body.id,
        job.tube,
        job.body.name,
        job.body.payload,
        guarded.attempts,
        guarded.interruptions,
        guarded.history,
        (job.job, guarded.number),
    )
