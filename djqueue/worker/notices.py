"""The chores of a worker that are not signals: what the payload store and the outbox need."""

from __future__ import annotations

import logging

from django.db import DatabaseError

from djqueue.dispatch.outbox import outbox
from djqueue.errors import QueueError
from djqueue.finish.notices import Chore, ChoreKind
from djqueue.operations import pruning
from djqueue.operations.payload_pruning import prune_payloads
from djqueue.payload import store as payload_store

logger = logging.getLogger("djqueue.worker")


def tidy(chore: Chore) -> None:
    """Do one of the payload store or the outbox. What fails is left to a later one."""
    try:
        if chore.kind is ChoreKind.FORGET:
            payload_store.remove(chore.text.split())
        elif chore.kind is ChoreKind.REPLAY:
            outbox.replay()
        else:
            pruning.prune()
            prune_payloads()
    except (QueueError, DatabaseError) as error:
        logger.warning(_FAILED[chore.kind], error)


_FAILED = {
    ChoreKind.FORGET: "Large arguments of finished jobs could not be removed: %s",
    ChoreKind.PRUNE: "Pruning failed: %s",
    ChoreKind.REPLAY: "What is due in the outbox could not be moved to its store: %s",
}
