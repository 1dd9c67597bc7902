"""What a worker has done in a child although it is no job: the parent runs no code of the project,
and signal receivers and storages are that. A chore travels as a notice to nobody.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Sequence

from django.db import DatabaseError

from djqueue import payload_store
from djqueue.bus import outbox
from djqueue.bus.payload_pruning import prune_payloads
from djqueue.drivers.base import Reservation
from djqueue.errors import QueueError
from djqueue.running.outcome import ErrorReport

logger = logging.getLogger("djqueue.worker")

NOBODY = ""
"""The name of a reservation that stands for no job."""


class Chore(str, enum.Enum):
    """Kinds of chores."""

    STARTED = "started"
    STOPPING = "stopping"
    FORGET = "forget"
    """Remove large arguments of jobs that are over."""
    PRUNE = "prune"
    """Remove large arguments that nobody needs."""
    REPLAY = "replay"
    """Move jobs from the outbox to other stores."""


def notice(chore: Chore, text: str = "") -> tuple[Reservation, ErrorReport]:
    """A chore, for the stock of notices."""
    return Reservation("", "", NOBODY, "", 0, 0, "", None), ErrorReport(chore.value, text, "")


def forget(ids: Sequence[str]) -> tuple[Reservation, ErrorReport]:
    """The chore of removing what the payload store has under `ids`."""
    return notice(Chore.FORGET, " ".join(ids))


def forget_here(ids: Sequence[str]) -> None:
    """The same without a child."""
    tidy(Chore.FORGET, " ".join(ids))


def tidy(chore: Chore, text: str) -> None:
    """Do one of the payload store or the outbox. What fails is left to a later one."""
    try:
        if chore is Chore.FORGET:
            payload_store.remove(text.split())
        elif chore is Chore.REPLAY:
            outbox.replay()
        else:
            prune_payloads()
    except (QueueError, DatabaseError) as error:
        logger.warning(_FAILED[chore], error)


_UNNEEDED = "Large arguments that nobody needs could not be removed: %s"
_FAILED = {
    Chore.FORGET: _UNNEEDED,
    Chore.PRUNE: _UNNEEDED,
    Chore.REPLAY: "What is due in the outbox could not be moved to its store: %s",
}
