"""The signal `batch_finished`: sent after the commit, once for each batch, by a process that may
run code of the project.
"""

from __future__ import annotations

from djqueue.composition.batches import counting
from djqueue.databases.now import UtcNow
from djqueue.signals import announce, batch_finished

__all__ = ["announce_all", "announce_one"]

AT_ONCE = 100


def announce_all(alias: str) -> None:
    """Announce the batches that have finished. Where jobs run in the process that dispatches them
    there may be no worker that does it.
    """
    if not batch_finished.receivers:
        return
    due = counting.rows(alias).filter(announced=False, finished_at__isnull=False)
    for batch in list(due.filter(upkeep_at__lte=UtcNow()).values_list("pk", flat=True)[:AT_ONCE]):
        announce_one(alias, batch)


def announce_one(alias: str, batch: str) -> None:
    """Announce a batch, if it has finished and was not announced before."""
    from djqueue.models import JobBatch

    finished = counting.rows(alias).filter(pk=batch, finished_at__isnull=False)
    if finished.filter(announced=False).update(announced=True):
        announce(batch_finished, JobBatch, batch=finished.first())
