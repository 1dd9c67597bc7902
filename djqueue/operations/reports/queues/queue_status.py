"""One queue at one moment."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from djqueue.dispatch import controls
    from djqueue.drivers.base import QueueCounts

__all__ = ["QueueStatus"]


class QueueStatus(NamedTuple):
    """One queue at one moment."""

    connection: str
    queue: str
    counts: QueueCounts
    paused: bool
    workers: int | None
    """Workers that are alive and read it; None where that is unknown."""
    stuck: int = 0
    pause: controls.Pause | None = None
    """How long it is paused, why and by whom."""

    @property
    def state(self) -> str:
        """Return ``paused``, ``active``, ``no worker``, or ``unknown``."""
        if self.paused:
            return "paused"
        if self.workers is None:
            return "unknown"
        return "active" if self.workers else "no worker"

    @property
    def oldest(self) -> float | None:
        """Return the seconds that the oldest waiting job has been waiting; None if no job waits."""
        at = self.counts.oldest_at
        return None if at is None else max((datetime.now(timezone.utc) - at).total_seconds(), 0.0)
