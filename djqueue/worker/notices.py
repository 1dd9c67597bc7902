"""What a child gets besides jobs to run: announcements of stored ends, signals of the worker, and
upkeep. All of it may run code of the project, and the parent runs none.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import DatabaseError

from djqueue.composition.batches import upkeep as batch_upkeep
from djqueue.dispatch.outbox import outbox
from djqueue.drivers.base import Reservation
from djqueue.errors import QueueError
from djqueue.finish.notices import (
    Announcement,
    Cancelled,
    Failed,
    FreeSlots,
    Released,
    RemovePayloads,
    Succeeded,
)
from djqueue.limits.store import store
from djqueue.notify import watch
from djqueue.operations import pruning
from djqueue.operations.payload_pruning import prune_payloads
from djqueue.payload import store as payload_store

if TYPE_CHECKING:
    from djqueue.runner.telling import Teller

logger = logging.getLogger("djqueue.worker")


@dataclass(frozen=True)
class WorkerStarted:
    """The signal `worker_started` is to be sent."""


@dataclass(frozen=True)
class WorkerStopping:
    """The signal `worker_stopping` is to be sent."""

    reason: str


@dataclass(frozen=True)
class Prune:
    """Remove large arguments that are not needed, and rows that are too old."""


@dataclass(frozen=True)
class ReplayOutbox:
    """Move what is late in the outbox to other stores."""


@dataclass(frozen=True)
class LookAfterBatches:
    """Remove waiting members of cancelled batches."""


@dataclass(frozen=True)
class Notify:
    """Look for what is wrong, and say it to those in ``NOTIFY``."""


Upkeep = RemovePayloads | FreeSlots | Prune | ReplayOutbox | LookAfterBatches | Notify
Notice = Announcement | WorkerStarted | WorkerStopping | Upkeep


def carry_out(upkeep: Upkeep) -> None:
    """Do what the payload store, the limits or the outbox need. An error is logged, and the work
    left to the next notice.
    """
    try:
        if isinstance(upkeep, RemovePayloads):
            payload_store.remove(upkeep.ids)
        elif isinstance(upkeep, FreeSlots):
            since = time.monotonic() - upkeep.ended_at
            store().leave_for([(upkeep.job, upkeep.run)], max(0.0, since))
        elif isinstance(upkeep, ReplayOutbox):
            outbox.replay()
        elif isinstance(upkeep, LookAfterBatches):
            batch_upkeep.look_after()
        elif isinstance(upkeep, Notify):
            watch.look()
        else:
            pruning.prune()
            prune_payloads()
    except (QueueError, DatabaseError) as error:
        logger.warning(_FAILED[type(upkeep)], error)


_FAILED: dict[type, str] = {
    RemovePayloads: "Large arguments of finished jobs could not be removed: %s",
    FreeSlots: "Slots of limits could not be given back; they come back by themselves: %s",
    Prune: "Pruning failed: %s",
    LookAfterBatches: "Members of cancelled batches could not be removed: %s",
    Notify: "What is wrong could not be looked for: %s",
    ReplayOutbox: "What is due in the outbox could not be moved to its store: %s",
}


def time_for(notice: Notice, teller: Teller, each: float) -> float:
    """Return the seconds that delivering `notice` may take. `each`: the seconds for one success,
    and for a notice that is not about a job.
    """
    if isinstance(notice, Failed | Released):
        return teller.time_to_announce(notice.reservation)
    return each * len(notice.jobs) if isinstance(notice, Succeeded) else each


def what_it_is(notice: Notice) -> str:
    """Return the subject of a sentence about `notice`."""
    match notice:
        case Succeeded(jobs):
            return f"A receiver of a signal about {jobs[0].name}"
        case Cancelled(name=name) | Released(Reservation(name=name)):
            return f"A receiver of a signal about {name}"
        case Failed(reservation):
            return f"{reservation.name}.failed()"
        case WorkerStarted() | WorkerStopping():
            return "A receiver of a signal about the worker"
        case RemovePayloads() | Prune():
            return "The payload store"  # which is the project's storage
        case FreeSlots():
            return "The store of limits"
        case ReplayOutbox():
            return "The outbox"
        case LookAfterBatches():
            return "The upkeep of batches"
        case Notify():
            return "A receiver in DJQUEUE['NOTIFY']"
