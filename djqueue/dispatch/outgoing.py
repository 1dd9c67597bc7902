"""The values that a dispatch makes of a job before it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from djqueue.drivers.base import OutgoingJob
    from djqueue.drivers.debounced import Wish

__all__ = ["Plan", "Sendable", "Sizes"]


class Sizes(NamedTuple):
    """The lengths, in characters, that decide what is done with a payload."""

    fits: float
    """Up to this length it is sent as it is."""
    compress_above: int | None
    store_above: int | None
    most: int | None
    """The longest payload that the driver takes."""


class Plan(NamedTuple):
    """What dispatches of one job class with the same options have in common."""

    connection: str
    queue: str
    head: str
    """The beginning of the payload."""
    priority: int
    after_commit: bool
    inline: bool
    max_delay: float | None
    fits: float
    """`sizes.fits`, which every dispatch reads."""
    sizes: Sizes
    unique: bool = False
    """Its jobs have a unique key."""
    keeps_result: bool = False
    """A row among the results is written together with the job."""
    encrypts: bool = False
    """What its jobs carry is encrypted."""
    debounces: bool = False
    """Its jobs wait in the outbox for another dispatch that replaces them."""


class Sendable(NamedTuple):
    """A job, ready to be pushed."""

    outgoing: OutgoingJob
    instance: Any
    plan: Plan
    body: bytes | None = None
    """What `djqueue.dispatch.large.store_bodies` has to write before the push."""
    wish: Wish | None = None
    """Of a debounced job."""
