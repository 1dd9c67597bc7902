"""What a job is in beanstalkd: bytes in a tube, and one number that says how urgent they are.

The body begins with a line of our own, ``djq1 <uuid> <name> <priority>``, followed by the payload.
What lacks it was put by another program: it comes back as a job without a name, and ends among the
failed jobs.
"""

from __future__ import annotations

import math
import uuid
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote

_MARK = b"djq1"
_FOREIGN = uuid.UUID("3f2b5a52-58f5-5d0a-9d4e-5b6f0d3c8a11")
"""The namespace of ids that are made for bodies without one."""

MOST_URGENT = 100
"""The largest priority of a job."""
STEP = 1000
"""Urgencies between two neighbouring priorities: room to count attempts in, see `later_attempt`."""


class Body(NamedTuple):
    """A body, read."""

    id: str
    name: str
    priority: int
    payload: str


def encode(id: str, name: str, priority: int, payload: str) -> bytes:
    """The bytes to put."""
    line = f"djq1 {id} {_quoted(name)} {priority}\n"
    return line.encode("ascii") + payload.encode("utf-8", "surrogateescape")


def decode(data: bytes, tube: str, job: int) -> Body:
    """Read the bytes of job number `job`. Never fails."""
    line, separator, rest = data.partition(b"\n")
    words = line.split(b" ")
    if separator and len(words) == 4 and words[0] == _MARK:
        try:
            id, name, priority = (word.decode("ascii") for word in words[1:])
            if len(id) == 36:
                return Body(id, _unquoted(name), int(priority), _text(rest))
        except ValueError:
            pass
    return Body(str(uuid.uuid5(_FOREIGN, f"{tube} {job}")), "", 0, _text(data))


def urgency(priority: int) -> int:
    """Beanstalkd's number, where the smallest comes first, for a job that was never tried."""
    return (MOST_URGENT - priority) * STEP + STEP - 1


def attempts_used(urgency: int) -> int:
    """How many attempts `later_attempt` has counted."""
    return STEP - 1 - urgency % STEP


def later_attempt(urgency: int) -> int:
    """The urgency of a job that has used one attempt more: the one number of a job that can be
    changed is where attempts are counted without SQL. It grows a little more urgent each time,
    so that new jobs never keep an old one waiting for ever.
    """
    return urgency if urgency % STEP == 0 else urgency - 1


def whole_seconds(delay: float) -> int:
    """Beanstalkd counts whole seconds; a job is never early."""
    return max(0, math.ceil(delay))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


@lru_cache(maxsize=1024)
def _quoted(name: str) -> str:
    return quote(name, safe="") or "%"


@lru_cache(maxsize=1024)
def _unquoted(name: str) -> str:
    return "" if name == "%" else unquote(name)
