"""Pushes, as they are sent: some jobs a call, with a name that tells a repetition from a new one.

A call whose answer was lost is sent again. By then a fast worker may have run its jobs, and nothing
of them is left; so each call leaves its name in a key of its pusher, for a minute, and a repetition
looks there first. The key is overwritten by the pusher's next call: it is one key a process and
queue, however much is pushed. Calls are carried out in the order in which they were sent, so the
name of a later one is a proof too.

Jobs of a connection with an outbox may be pushed again by another process, which has taken their
rows there. They leave a key each, by the name of the push.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any

from djqueue.drivers.redis import scripts
from djqueue.drivers.redis.arguments import milliseconds
from djqueue.drivers.redis.keys import encode_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from djqueue.drivers.base import OutgoingJob
    from djqueue.drivers.redis.keys import Keys

CHUNK = 250
CHUNK_BYTES = 1024 * 1024
"""Jobs, and bytes of payload, from which a push is sent in several calls."""
REMEMBERED = 60
"""Seconds for which a call is known again."""


class Push:
    """One call of the push script."""

    def __init__(self, keys: tuple[Any, ...], jobs: tuple[Any, ...], ids: Sequence[str]) -> None:
        self.ids = ids
        self.name = secrets.token_hex(8)
        self.proofs: Sequence[str] = (self.name,)
        """Names that show that it has run, if one of them is the last in its pusher's key."""
        self.in_doubt = False
        """It was sent, and may have been carried out."""
        self.is_stored = False
        self._keys = keys
        self._jobs = jobs

    def command(self) -> tuple[Any, ...]:
        """What to send, now or once more."""
        proofs = " ".join(self.proofs) if self.in_doubt else ""
        return (*self._keys, self.name, proofs, REMEMBERED, *self._jobs)


class Pusher:
    """Makes the calls of one driver."""

    def __init__(self, *, repeated_by_others: bool) -> None:
        self._name = secrets.token_hex(4)
        self._repeated_by_others = repeated_by_others

    def pushes(self, keys: Keys, jobs: Sequence[OutgoingJob]) -> Iterator[Push]:
        """The calls that push `jobs`, which are all of one queue."""
        some: list[OutgoingJob] = []
        arguments: list[Any] = []
        size = 0
        for job in jobs:
            body = encode_body(job.name, job.payload)
            arguments += (job.id, b"%03d" % (100 - job.priority), milliseconds(job.delay), body)
            some.append(job)
            size += len(body)
            if len(some) >= CHUNK or size >= CHUNK_BYTES:
                yield self._push(keys, some, arguments)
                some, arguments, size = [], [], 0
        if some:
            yield self._push(keys, some, arguments)

    def _push(self, keys: Keys, jobs: Sequence[OutgoingJob], arguments: list[Any]) -> Push:
        # A process that was forked from another has its own key.
        used = [b"%b:%b:%d" % (keys.push, self._name.encode(), os.getpid())]
        if self._repeated_by_others:
            used += (b"%b:job:%b" % (keys.push, job.push_name.encode()) for job in jobs)
        ids = [job.id for job in jobs]
        return Push(scripts.PUSH.call(keys, used), tuple(arguments), ids)
