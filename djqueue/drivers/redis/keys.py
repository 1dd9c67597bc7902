"""The keys of a queue, and what is in them.

All keys of a queue carry one hash tag, so that a cluster keeps them together: the queue's name, or
the tag within it.

    number   string  a counter: the order of dispatch
    fence    string  the last fencing number: microseconds of the epoch, or one more than the last
    body     hash    id → order (15) + created, ms (13) + length of the name (4) + name + payload
    ready    sorted  order + id, by rank * 2^42 + the time of becoming available, ms
    delayed  sorted  order + id, by the due time, ms
    leased   sorted  id, by the end of its lease, ms
    held     hash    id → fence:session:attempt:interruptions:reserved, ms:order:score:worker
    state    hash    id → attempts:interruptions:order:history; only once a job has come back
    wake     list    at most a few tokens; idle workers wait for one
    unique   hash    key → id of the job that took it last, and `:ms` after which others take it
    push     string  the last call of one pusher, for a minute; see `pushing`

The order is the rank (100 minus the priority, three digits) and a number (twelve hexadecimal
digits): what became available in the same millisecond comes in the order of dispatch. The scripts
copy a body and never look behind its order.

A fencing number alone could be given twice: a promoted replica, or a file without its last second,
goes back to an earlier one. So it is never less than the server's clock, and stands beside the
session, which a worker draws when it joins; the two are the token that every write compares.
"""

from __future__ import annotations

from typing import NamedTuple

from djqueue.drivers.base import FOREIGN

ORDER = 15
NAME_AT = ORDER + 13 + 4
_LENGTH = slice(NAME_AT - 4, NAME_AT)
_TEXT = "utf-8", "surrogateescape"


class Keys(NamedTuple):
    """The keys of one queue."""

    number: bytes
    fence: bytes
    body: bytes
    ready: bytes
    delayed: bytes
    leased: bytes
    held: bytes
    state: bytes
    wake: bytes
    unique: bytes
    push: bytes
    """What the names of the keys of pushers begin with."""


def keys_of(prefix: str, queue: str) -> Keys:
    """Return the keys of a queue. A queue whose name has a tag has other keys than one that is
    called like the tag.
    """
    base = f"{prefix}:tagged:{queue}" if "{" in queue else f"{prefix}:{{{queue}}}"
    return Keys(*(f"{base}:{name}".encode() for name in Keys._fields))


def encode_body(name: str, payload: str) -> bytes:
    """Return the part of a body that the pusher writes."""
    raw = name.encode("utf-8", "surrogateescape")
    return b"%04d%b%b" % (len(raw), raw, payload.encode("utf-8", "surrogateescape"))


def decode_body(body: bytes) -> tuple[str, str]:
    """Return name and payload, exactly as pushed. Never fails: a body that no driver of ours has
    written comes back whole, as the payload of a job that is called `FOREIGN`.
    """
    length = body[_LENGTH]
    if length.isdigit():
        end = NAME_AT + int(length)
        if end <= len(body):
            name, payload = body[NAME_AT:end], body[end:]
            return name.decode(*_TEXT), payload.decode(*_TEXT)
    return FOREIGN, body.decode(*_TEXT)
