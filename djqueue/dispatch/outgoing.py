"""What a dispatch makes of a job before it is sent: values only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from djqueue.drivers.base import OutgoingJob

__all__ = ["Plan", "Sendable", "Sizes"]


class Sizes(NamedTuple):
    """What becomes of a payload, by its length."""

    fits: float
    """Up to here it goes as it is."""
    compress_above: int | None
    store_above: int | None
    most: int | None
    """What the driver takes."""


class Plan(NamedTuple):
    """All of a dispatch that does not depend on the single job."""

    connection: str
    queue: str
    head: str
    """The beginning of the payload."""
    priority: int
    after_commit: bool
    inline: bool
    max_delay: float | None
    fits: float
    """Characters of a payload that may go as it is: the first of `sizes`, for the hot path."""
    sizes: Sizes


class Sendable(NamedTuple):
    """A job, ready to be pushed."""

    outgoing: OutgoingJob
    instance: Any
    plan: Plan
    body: bytes | None = None
    """What `djqueue.dispatch.large.store_bodies` has to store first."""
