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
from djqueue.drivers.redis.codec import milliseconds
from djqueue.drivers.redis.keys import encode_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from djqueue.drivers.base import OutgoingJob
    from djqueue.drivers.redis.keys import Keys
    from djqueue.drivers.redis.scripts import Script

CHUNK = 250
CHUNK_BYTES = 1024 * 1024
"""Jobs, and bytes of payload, from which a push is sent in several calls."""
REMEMBERED = 60
"""Seconds for which a call is known again."""


class Push:
    """One call of the push script."""

    __slots__ = ("_arguments", "_beginning", "ids", "in_doubt", "is_stored", "name", "proofs")

    def __init__(
        self, name: str, beginning: tuple[Any, ...], arguments: list[Any], ids: list[str]
    ) -> None:
        self.ids = ids
        self.name = name
        self.proofs = [name]
        """Names that show that it has run, if one of them is the last in its pusher's key."""
        self.in_doubt = False
        """It was sent, and may have been carried out."""
        self.is_stored = False
        self._beginning = beginning
        self._arguments = arguments

    def command(self) -> tuple[Any, ...]:
        """Return what to send, now or once more."""
        proofs = " ".join(self.proofs) if self.in_doubt else ""
        return (*self._beginning, self.name, proofs, REMEMBERED, *self._arguments)


class Pusher:
    """Makes the calls of one driver."""

    def __init__(self, *, repeated_by_others: bool) -> None:
        self._repeated_by_others = repeated_by_others
        self._pid = 0
        self._name = ""
        self._number = 0
        self._beginnings: dict[Keys, tuple[Any, ...]] = {}

    def pushes(self, keys: Keys, jobs: Sequence[OutgoingJob]) -> Iterator[Push]:
        """Return the calls that push `jobs`, which are all of one queue."""
        start = size = 0
        arguments: list[Any] = []
        for number, job in enumerate(jobs, 1):
            arguments += _arguments(job)
            size += len(arguments[-1])
            if number - start >= CHUNK or size >= CHUNK_BYTES:
                yield self._push(keys, jobs[start:number], arguments)
                start, size, arguments = number, 0, []
        if arguments:
            yield self._push(keys, jobs[start:], arguments)

    def one(self, keys: Keys, job: OutgoingJob) -> Push:
        """Return the call that pushes one job."""
        return self._push(keys, (job,), list(_arguments(job)))

    def _push(self, keys: Keys, jobs: Sequence[OutgoingJob], arguments: list[Any]) -> Push:
        name = self._next_name()
        beginning = self._beginnings.get(keys)
        if beginning is None or self._repeated_by_others:
            beginning = self._beginnings[keys] = self._beginning(scripts.PUSH, keys, jobs)
        return Push(name, beginning, arguments, [job.id for job in jobs])

    def unique(self, keys: Keys, jobs: Sequence[OutgoingJob]) -> Push:
        """Return the call that pushes jobs of one queue which have unique keys."""
        name = self._next_name()
        arguments: list[Any] = []
        for job in jobs:
            assert job.unique is not None  # noqa: S101 - it is pushed as a unique job
            key, seconds = job.unique
            arguments += (key, "" if seconds is None else milliseconds(seconds), *_arguments(job))
        beginning = self._beginning(scripts.PUSH_UNIQUE, keys, jobs)
        return Push(name, beginning, arguments, [job.id for job in jobs])

    def _next_name(self) -> str:
        if self._pid != os.getpid():
            # A process that was forked has a name of its own.
            self._pid, self._name, self._beginnings = os.getpid(), secrets.token_hex(5), {}
        self._number = (self._number + 1) % 0x1000000
        return f"{self._name}{self._number:06x}"

    def _beginning(
        self, script: Script, keys: Keys, jobs: Sequence[OutgoingJob]
    ) -> tuple[Any, ...]:
        own = b"%b:%b" % (keys.push, self._name.encode())
        named = [b"%b:job:%b" % (keys.push, job.push_name.encode()) for job in jobs]
        return script.call(keys, [own, *(named if self._repeated_by_others else ())])


def _arguments(job: OutgoingJob) -> tuple[Any, ...]:
    body = encode_body(job.name, job.payload)
    return job.id, b"%03d" % (100 - job.priority), milliseconds(job.delay), body
