"""What a running job asks of its batch."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from django.db import DatabaseError

from djqueue.composition.batches import counting
from djqueue.composition.chains import steps

if TYPE_CHECKING:
    from djqueue.models import JobBatch

logger = logging.getLogger("djqueue.worker")

KNOWN_FOR = 1.0
"""Seconds for which an answer is kept."""
MOST = 100
"""Batches whose answers are kept."""


def find(batch: str) -> JobBatch | None:
    """Return a batch as it is now; None if it was pruned."""
    return counting.rows(steps.store()).filter(pk=batch).first()


class Cancelled:
    """Which batches are cancelled, asked once a second for each."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, bool]] = {}

    def holds(self, batch: str) -> bool:
        """Return whether a batch is cancelled. Where its database is away, its members run."""
        now = time.monotonic()
        asked_at, answer = self._known.get(batch, (-KNOWN_FOR, False))
        if answer or now - asked_at < KNOWN_FOR:
            return answer
        if len(self._known) >= MOST:
            self._known.clear()
        rows = counting.rows(steps.store())
        try:
            answer = rows.filter(pk=batch, cancelled_at__isnull=False).exists()
        except DatabaseError as error:
            logger.info("It is not known whether batch %s is cancelled: %s", batch, error)
        self._known[batch] = now, answer
        return answer
