"""Children without the rest of a worker."""

from __future__ import annotations

import time

from djqueue.dispatch.dispatch import prepare
from djqueue.drivers.base import Reservation
from djqueue.worker.children.children import Children
from djqueue.worker.children.process import Process
from tests.app import jobs


def reservations(count: int, seconds: float = 0.0) -> list[Reservation]:
    """Jobs as a driver would hand them out."""
    made = []
    for number in range(count):
        bound = jobs.record.bind(number, seconds)
        outgoing = prepare(bound, bound._spec).outgoing
        made.append(
            Reservation(outgoing.id, "default", "app.record", outgoing.payload, 1, 0, "", number)
        )
    return made


def born(children: Children) -> Process:
    """The one child, just started."""
    (process,) = children.start_missing(time.monotonic() + 60)
    return process
