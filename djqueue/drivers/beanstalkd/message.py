"""What a job is in beanstalkd: bytes in a tube, and one number that says how urgent they are.

The body begins with a line of our own, ``djq1 <uuid> <name> <priority> <seconds> <push>``, followed
by the payload. What lacks it was put by another program: it ends among the failed jobs.
"""

from __future__ import annotations

import builtins
import math
import uuid
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote

from djqueue.drivers.base import FOREIGN

_MARK = b"djq1"
_FOREIGN = uuid.UUID("3f2b5a52-58f5-5d0a-9d4e-5b6f0d3c8a11")
"""The namespace of ids that are made for bodies without one."""

MOST_URGENT = 100
"""The largest priority of a job."""
STEP = 1000
"""Urgencies between two neighbouring priorities."""


class Body(NamedTuple):
    """A body, read."""

    id: str
    name: str
    priority: int
    payload: str
    hold_for: int = 0
    """Seconds for which beanstalkd holds the job when it is reserved; 0 where the body does not
    say so."""
    push_id: str = ""
    """See `OutgoingJob.push_id`."""
    foreign: bool = False
    """Another program has put it."""

    @property
    def bytes(self) -> builtins.bytes:
        """What to put."""
        line = (
            f"djq1 {self.id} {_quoted(self.name)} {self.priority} {self.hold_for} "
            f"{self.push_id or '-'}\n"
        )
        return line.encode("ascii") + self.payload.encode("utf-8", "surrogateescape")


def decode(data: bytes, tube: str, job: int) -> Body:
    """Read the bytes of job number `job`. Never fails."""
    line, separator, rest = data.partition(b"\n")
    words = line.split(b" ")
    if separator and len(words) == 6 and words[0] == _MARK:
        try:
            id, name, priority, hold_for, push = (word.decode("ascii") for word in words[1:])
            if len(id) == 36:
                push = "" if push == "-" else push
                named = _unquoted(name)
                return Body(id, named, int(priority), _text(rest), int(hold_for), push)
        except ValueError:
            pass
    made = str(uuid.uuid5(_FOREIGN, f"{tube} {job}"))
    return Body(made, FOREIGN, 0, _text(data), foreign=True)


def urgency(priority: int) -> int:
    """Beanstalkd's number, where the smallest comes first, for a job."""
    return (MOST_URGENT - priority) * STEP + STEP - 1


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
