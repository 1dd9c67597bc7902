"""What a job is in beanstalkd: bytes in a tube, and one number that says how urgent they are.

The body begins with a line of our own, ``djq1 <uuid> <name> <priority> <seconds> <push>``, followed
by the payload. A body without it was put by another program: it ends among the failed jobs.
"""

from __future__ import annotations

import math
import re
import uuid
from typing import NamedTuple

from djqueue.drivers.beanstalkd import client
from djqueue.drivers.guard.quoting import quoted, unquoted
from djqueue.drivers.types import FOREIGN, OutgoingJob
from djqueue.errors import QueueError

_MARK = b"djq1"
_is_uuid = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_FOREIGN = uuid.UUID("3f2b5a52-58f5-5d0a-9d4e-5b6f0d3c8a11")
"""The namespace of ids that are made for bodies without one."""

MOST_URGENT = 100
"""The largest priority of a job."""
STEP = 1000
"""Urgencies between two neighbouring priorities."""


class Message(NamedTuple):
    """A job that a connection has reserved, read."""

    key: int
    """beanstalkd's number of the job."""
    queue: str
    """Its tube."""
    id: str
    name: str
    priority: int
    payload: str
    hold_for: int = 0
    """Seconds for which beanstalkd holds the job when it is reserved; 0: the body does not say."""
    push_id: str = ""
    """See `OutgoingJob.push_id`."""
    foreign: bool = False
    """Another program has put it."""
    since: float = 0.0
    """When the server was last asked to hold it, on `clock.now`."""
    opening: int = 0
    """The connection that holds it: see `Client.openings`."""

    def another_copy(self, delay: float) -> OutgoingJob:
        """Return the same push of the job, to be put once more."""
        push = self.push_id or self.id
        job = OutgoingJob(self.id, self.queue, self.name, self.payload, delay, self.priority)
        return job._replace(push_id=push)


def encode(job: OutgoingJob, hold_for: int) -> bytes:
    """Return the body to put."""
    line = f"djq1 {job.id} {quoted(job.name)} {job.priority} {hold_for} {job.push_id or '-'}\n"
    return line.encode("ascii") + job.payload.encode("utf-8", "surrogateescape")


def decode(data: bytes, tube: str, key: int, since: float = 0.0, opening: int = 0) -> Message:
    """Read the body of job number `key`. Never fails."""
    line, separator, rest = data.partition(b"\n")
    words = line.split(b" ")
    if separator and len(words) == 6 and words[0] == _MARK:
        try:
            id, name, priority, hold_for, push = (word.decode("ascii") for word in words[1:])
            if _is_uuid(id) and (push == "-" or _is_uuid(push)):
                named, urgent, held = unquoted(name), int(priority), int(hold_for)
                push = "" if push == "-" else push
                known = (key, tube, id, named, urgent, _text(rest), held, push)
                return Message(*known, False, since, opening)
        except ValueError:
            pass
    made = str(uuid.uuid5(_FOREIGN, f"{tube} {key}"))
    return Message(key, tube, made, FOREIGN, 0, _text(data), 0, "", True, since, opening)


def put(job: OutgoingJob, body: bytes, hold_for: int) -> bytes:
    """Return the command that stores a job with its encoded body."""
    return client.put(body, urgency(job.priority), whole_seconds(job.delay), hold_for)


def tube(queue: str) -> str:
    """Return the tube of a queue."""
    if queue.startswith("-"):
        raise QueueError(
            f'"{queue}" cannot be a queue in beanstalkd, whose names do not begin with a hyphen. '
            "Choose another name."
        )
    return queue


def urgency(priority: int) -> int:
    """Return Beanstalkd's number, where the smallest comes first, for a job."""
    return (MOST_URGENT - priority) * STEP + STEP - 1


def whole_seconds(delay: float) -> int:
    """Return whole seconds, which Beanstalkd counts in; rounded up, so that no job is early."""
    return max(0, math.ceil(delay))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
