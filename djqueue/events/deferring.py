"""Events that wait for the end of a block of `defer`."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from djqueue.events.base import Event

__all__ = ["Deferred", "deferred", "take"]


class Deferred:
    """The events that were fired in a block of `defer`."""

    def __init__(self, kinds: tuple[type[Event], ...], outer: Deferred | None) -> None:
        self.kinds = kinds
        self.outer = outer
        """The block around it."""
        self.events: list[Event] = []
        self.open = True
        """Whether the block runs. A copy of its context, as a task has, may outlive it."""

    def take(self, given: Event) -> bool:
        """Keep an event if it is of those that wait. Return whether it is."""
        if not self.open:
            return False
        if self.kinds and not isinstance(given, self.kinds):
            return False
        self.events.append(given)
        return True


def take(given: Event) -> bool:
    """Keep an event in the innermost block that runs and whose events are of its kind. Return
    whether there is one.
    """
    block = deferred.get()
    while block is not None and not block.take(given):
        block = block.outer
    return block is not None


deferred: ContextVar[Deferred | None] = ContextVar("djqueue_deferred_events", default=None)
"""The innermost block that runs."""
