"""What the scripts are given, from what callers give the driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.drivers.redis.keys import encode_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from djqueue.drivers.base import OutgoingJob, Settlement

CHUNK = 250
CHUNK_BYTES = 1024 * 1024
"""Jobs, and bytes of payload, from which a push is sent in several calls."""


def push_arguments(jobs: Sequence[OutgoingJob]) -> Iterator[list[Any]]:
    """Arguments of the push script, for as many jobs as one call takes."""
    arguments: list[Any] = []
    size = 0
    for job in jobs:
        body = encode_body(job.name, job.payload)
        arguments += (job.id, b"%03d" % (100 - job.priority), milliseconds(job.delay), body)
        size += len(body)
        if len(arguments) >= 4 * CHUNK or size >= CHUNK_BYTES:
            yield arguments
            arguments, size = [], 0
    if arguments:
        yield arguments


def settle_arguments(settlements: Sequence[Settlement]) -> list[Any]:
    """Arguments of the settle script."""
    arguments: list[Any] = []
    for reservation, verdict, delay, charged, history in settlements:
        text = (history or "").encode("utf-8", "surrogateescape")
        arguments += (reservation.id, reservation.handle, int(verdict), milliseconds(delay))
        arguments += (int(charged), int(history is not None), text)
    return arguments


def milliseconds(seconds: float) -> int:
    """Rounded up: nothing may be early."""
    return -int(-seconds * 1000 // 1)
