"""Ends that a store was asked to settle, and of which no answer arrived: they may be stored."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from djqueue.payload.payload import limits_of

if TYPE_CHECKING:
    from djqueue.drivers.base import Reservation, Session

logger = logging.getLogger("djqueue.worker")


class Unanswered:
    """The ids of such ends, and what their store says of them later."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.ids: set[str] = set()

    def remember(self, ids: Iterable[str]) -> None:
        """The connection broke while these were settled."""
        self.ids.update(ids)

    def forget(self, ids: Iterable[str]) -> None:
        """These have been answered."""
        self.ids.difference_update(ids)

    def removed(self, lost: set[str]) -> set[str]:
        """Return those of the lost ones that an earlier request removed: what the store no longer
        has was not taken over.
        """
        sent = lost & self.ids
        return self._session.gone(sorted(sent)) if sent else set()

    def warn(self, reservation: Reservation) -> None:
        """Log that the store did not take an end: another worker has the job, or an earlier try
        was stored after all.
        """
        named = reservation.name, reservation.id, reservation.attempt
        if reservation.id in self.ids:
            logger.info(_BEFORE, *named)
        else:
            level = logging.INFO if limits_of(reservation.payload).atomic else logging.WARNING
            logger.log(level, LOST_JOB, *named)


LOST_JOB = (
    "Lost %s %s (attempt %d): it was taken over, deleted or cancelled while it ran; its outcome was"
    " ignored."
)
_BEFORE = "%s %s (attempt %d): its outcome was stored before the connection broke, or is ignored."
