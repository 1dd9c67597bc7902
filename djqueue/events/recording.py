"""Where tests record events instead of firing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from djqueue.events.base import Event

__all__ = ["Recorder", "recorders"]


class Recorder(Protocol):
    """What takes events of the process while it is in use; see `djqueue.testing.fake_events`."""

    def takes(self, given: Event) -> bool:
        """Return whether an event is recorded."""

    def record(self, given: Event) -> None:
        """Take an event."""


recorders: list[Recorder] = []
"""Those in use, the innermost last."""
