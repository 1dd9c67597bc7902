"""What is done to batches: adding members, cancelling, retrying what failed, closing those whose
dispatcher is gone, pruning.
"""

from __future__ import annotations

import uuid as uuids
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from djqueue.compat import delete_rows
from djqueue.composition import following
from djqueue.composition.batches import counting, upkeep
from djqueue.composition.batches.growing import Members
from djqueue.composition.batches.publishing import Publishing, settle
from djqueue.composition.batches.wishes import using_of
from djqueue.composition.chains import steps
from djqueue.composition.chains.staging import Places
from djqueue.composition.ended import Turn
from djqueue.databases.now import UtcNow, aware
from djqueue.drivers.slices import slices
from djqueue.errors import JobNotFound, QueueError
from djqueue.operations.failed_jobs import Selection
from djqueue.operations.retrying import retry
from djqueue.runner.current import current_job
from djqueue.text import short_ids
from djqueue.tracing.dispatching import sending

if TYPE_CHECKING:
    from datetime import datetime

    from djqueue.composition.chains.steps import Push
    from djqueue.models import JobBatch

__all__ = [
    "Verbs",
    "close",
    "close_forgotten",
    "describe",
    "find",
    "listed",
    "named",
    "prune",
    "state",
]

SLICE = 100
"""Batches that are deleted together."""
FINISHED = Q(finished_at__isnull=False, pending_jobs=0)
UNFINISHED = Q(finished_at=None) | Q(pending_jobs__gt=0)
CANCELLED = Q(cancelled_at__isnull=False)


class Verbs:
    """The methods of `JobBatch`."""

    def add(self, batch: JobBatch, jobs: Iterable[Any]) -> int:
        """Add members, a slice at a time; how many."""
        with sending() as span:
            count = self._add(batch, jobs)
            span.tell(batch=batch.pk, count=count)
        return count

    def _add(self, batch: JobBatch, jobs: Iterable[Any]) -> int:
        added = self._added(batch.pk)
        members = Members(batch.pk, using_of(batch), Places(), batch.depth)
        count = 0
        for some in members.encoded(added.new(jobs)):
            if not members.store(some, partial(added.note, some.size)):
                raise QueueError(
                    f'Batch {batch.pk} ("{batch.name}") is finished or cancelled, or waits for its'
                    f" turn in a chain: it takes no more members. {count or 'None'} of these"
                    f" {'was' if count == 1 else 'were'} added."
                    f" Dispatch {'the others' if count else 'them'} as a batch of their own."
                ) from members.publishing.error
            added.number += some.size
            count += some.size
        _refresh(batch)
        members.publishing.raise_first()
        return count

    def _added(self, batch: str) -> _Added:
        """What the running job has added, in all calls of this attempt and in earlier ones."""
        job = current_job(None)
        if job is None:
            return _Added(None)
        added: _Added | None = job.kept.get(batch)
        if added is None:
            added = job.kept[batch] = _Added(uuids.uuid5(uuids.UUID(job.id), f"add {batch}"))
        return added

    def cancel(self, batch: JobBatch) -> bool:
        """Cancel it."""
        cancelled = upkeep.cancel(batch.pk)
        _refresh(batch)
        return cancelled

    def retry_failed(self, batch: JobBatch) -> int:
        """Retry its failed members; how many."""
        moved = retry(Selection(batch=batch.pk)).moved
        _refresh(batch)
        return moved


class _Added:
    """The members that a job has added to a batch. How many those of earlier attempts were is in a
    row of its own in `djqueue_runs`, written with them.
    """

    def __init__(self, key: uuids.UUID | None) -> None:
        """`key` is that of the row. None: what is added outside a job is new."""
        self._key = key
        self.number = 0
        """How many this attempt has added, or an earlier one in its place."""
        self._before = 0
        if key is not None:
            found = self._rows(steps.store()).filter(pk=key)
            self._before = found.values_list("attempts", flat=True).first() or 0

    def new(self, jobs: Iterable[Any]) -> Iterator[Any]:
        """Leave out those that an earlier attempt has added."""
        for job in jobs:
            if self.number < self._before:
                self.number += 1
            else:
                yield job

    def note(self, size: int, alias: str) -> None:
        """Count members, as a part of the open transaction that adds them."""
        if self._key is None:
            return
        self._rows(alias).update_or_create(
            pk=self._key,
            defaults={
                "attempts": self.number + size,
                "updated_at": timezone.now(),
                "ended": True,
            },
        )

    def _rows(self, alias: str) -> Any:
        from djqueue.models import Run

        return Run.objects.using(alias)


def _refresh(batch: JobBatch) -> None:
    batch.refresh_from_db(using=steps.store())


def named(id: str) -> JobBatch | None:
    """Return the batch with exactly that id."""
    return counting.rows(steps.store()).filter(pk=id).first()


def find(text: str) -> JobBatch:
    """Return the batch whose id is `text`, or begins or ends with it. Raises `JobNotFound`."""
    part = short_ids.digits(text)
    like = Q(pk__startswith=short_ids.as_begin(part)) | Q(pk__endswith=short_ids.as_end(part))
    if len(part) == short_ids.LENGTH:
        like = Q(pk=str(uuids.UUID(part)))
    found = list(counting.rows(steps.store()).filter(like)[:3])
    if len(found) == 1:
        return found[0]
    if not found:
        raise JobNotFound(f"There is no batch {text}. List them with queue_batches.")
    named = ", ".join(row.pk for row in found)
    raise JobNotFound(f"Several batches have an id like {text}: {named}. Give more of it.")


def listed(limit: int | None = None) -> Iterator[JobBatch]:
    """Return batches, newest first, and one more than `limit` if there are more."""
    rows = counting.rows(steps.store()).order_by("-created_at", "-pk")
    return iter(rows if limit is None else rows[: limit + 1])


def state(batch: JobBatch) -> str:
    """Return ``open``, ``waiting`` (for its turn in a chain), ``running``, ``cancelled``,
    ``failed`` or ``done``.
    """
    if batch.cancelled:
        return "cancelled"
    if batch.turn == Turn.WAITS:
        return "waiting"
    if not batch.finished:
        return "running" if batch.open_until is None else "open"
    return "failed" if batch.has_failures else "done"


def describe(batch: JobBatch) -> dict[str, Any]:
    """Return what an operator is shown of a batch."""
    return {
        "id": batch.pk,
        "name": batch.name,
        "state": state(batch),
        "progress": batch.progress,
        "jobs": batch.total_jobs,
        "pending": batch.pending_jobs,
        "failed": batch.failed_jobs,
        "reason": batch.reason,
        "created_at": aware(batch.created_at),
        "finished_at": aware(batch.finished_at),
        "cancelled_at": aware(batch.cancelled_at),
    }


def close(id: str) -> bool:
    """Close a batch that waits for members: it finishes when those that are in are settled. Return
    whether it did.
    """
    alias = steps.store()
    closed = []

    def close_it() -> list[Push]:
        if not counting.close(alias, id):
            return []
        closed.append(id)
        return following.close(alias, id)

    publishing = Publishing(alias)
    publishing.add([settle(alias, close_it)])
    publishing.raise_first()
    return bool(closed)


def prune(before: datetime, state: Q = FINISHED) -> int:
    """Delete batches in `state` that were dispatched, and if they are finished finished, before a
    moment, with the jobs that they have not called for, and what waits behind them in a chain.
    Return their number. Their members and failed jobs stay.
    """
    alias = steps.store()
    old = Q(finished_at__lt=before) | Q(finished_at=None, created_at__lt=before)
    deleted = 0
    every = list(counting.rows(alias).filter(state, old).values_list("pk", flat=True))
    for some in slices(every, SLICE):
        with transaction.atomic(using=alias):
            rows = counting.rows(alias).filter(state, old, pk__in=some)
            found = list(rows.select_for_update().values_list("pk", "turn", "chain"))
            ids = [id for id, _, _ in found]
            # The chains that go on only when such a batch has finished, or its jobs are retried.
            ended = [str(chain) for _, turn, chain in found if turn in (Turn.RUNS, Turn.FAILED)]
            steps.give_up(alias, [*ids, *ended])
            deleted += delete_rows(counting.rows(alias).filter(pk__in=ids))
    return deleted


def close_forgotten() -> int:
    """Close and cancel batches whose dispatcher is gone. Return their number."""
    alias = steps.store()
    gone = counting.rows(alias).filter(open_until__lte=UtcNow())
    closed = 0
    for id, turn in list(gone.values_list("pk", "turn")[:100]):
        with transaction.atomic(using=alias):
            if not gone.filter(pk=id).update(depth=F("depth")):
                continue  # its dispatcher has come back since
            if turn == Turn.WAITS:  # of a chain that was never written
                steps.give_up_batches(alias, [id])
            counting.cancel(alias, id, counting.GONE)
        _close(alias, id)
        closed += 1
    return closed


def _close(alias: str, id: str) -> None:
    publishing = Publishing(alias)
    publishing.add([settle(alias, partial(following.close, alias, id))])
    publishing.raise_first()
