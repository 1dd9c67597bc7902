"""Which SQS queue a queue of ours is."""

from __future__ import annotations

from collections.abc import Mapping

FIFO = ".fifo"


def is_fifo(name_or_url: str) -> bool:
    """Whether that is a FIFO queue: SQS says so in the name."""
    return name_or_url.endswith(FIFO)


def full_name(queue: str, suffix: str) -> str:
    """The name in SQS: with the suffix, once, before ``.fifo``. A dot becomes a hyphen there."""
    fifo = FIFO if is_fifo(queue) else ""
    name = queue.removesuffix(FIFO).replace(".", "-")
    return name.removesuffix(suffix) + suffix + fifo


def url_of(queue: str, prefix: str, suffix: str, urls: Mapping[str, str]) -> str | None:
    """The URL of a queue, or None if SQS has to be asked."""
    if queue in urls:
        return urls[queue]
    return f"{prefix.rstrip('/')}/{full_name(queue, suffix)}" if prefix else None
