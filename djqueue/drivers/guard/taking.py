"""Taking: a job that the store hands out gets a row, or the next number in the row that it has."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction

from djqueue.databases.now import UtcNow
from djqueue.drivers.guard.state import Delivery, GuardRow, GuardState, state_of
from djqueue.drivers.guard.table import AT_ONCE, Table
from djqueue.drivers.slices import slices

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.models import Run

TRIES, PAUSE = 5, 0.01
"""How often a locked row is tried again, and seconds between two tries."""

_FIELDS = (
    "reservation",
    "attempts",
    "interruptions",
    "history",
    "ended",
    "held_as",
    "push_id",
    "cancelled",
)
_NEW = GuardRow(GuardState.READY)
_BUSY = GuardRow(GuardState.BUSY)
_LOCKED = GuardRow(GuardState.BUSY, 0)


class Taking:
    """One call of `Guard.take`."""

    def __init__(
        self, table: Table, lease: float | None, ours: Mapping[str, int], gone: AbstractSet[str]
    ) -> None:
        self._table = table
        self._lease = lease
        """See `Guard`; the others: see `Guard.take`."""
        self._ours = ours
        self._gone = gone

    def take(self, jobs: Sequence[Delivery]) -> list[GuardRow]:
        """Return the row of each job, in order. Raises `IntegrityError`: then call it again."""
        first: dict[str, Delivery] = {}
        for job in jobs:
            first.setdefault(job.id, job)
        known = self._known(list(first))
        self._insert(job for id, job in first.items() if id not in known)
        old = {id: job for id, job in first.items() if id in known}
        taken = dict.fromkeys(first, _NEW)
        taken.update(self._take_known(old, known) if old else {})
        # The same id twice in one answer: the second copy waits until the first has ended.
        return [taken.pop(job.id, _BUSY) for job in jobs]

    def _known(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the existing rows. Most jobs have none yet, and a query for ids alone is cheap."""
        there = [id for some in slices(ids, AT_ONCE) for id in self._table.existing(some)]
        if not there:
            return {}
        values = self._table.rows.filter(uuid__in=there).values("uuid", *_FIELDS)
        return {str(row["uuid"]): row for row in values}

    def _insert(self, jobs: Iterable[Delivery]) -> None:
        new = list(jobs)
        several = len(new) > AT_ONCE or self._table.connection.in_atomic_block
        # All or none: a row written here must not look like another worker's next time.
        with transaction.atomic(using=self._table.alias) if several else nullcontext():
            for some in slices(new, AT_ONCE):
                self._table.insert(some)

    def _take_known(
        self, jobs: Mapping[str, Delivery], known: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, GuardRow]:
        """Take over existing rows, and try again for the locked ones: InnoDB locks neighbours along
        with a row, and transactions that lock a row are short.
        """
        taken = self._take_free(jobs, known)
        for _ in range(TRIES):
            locked = {id: jobs[id] for id, row in taken.items() if row is _LOCKED}
            if not locked:
                break
            time.sleep(PAUSE)
            taken.update(self._take_free(locked, self._known(list(locked))))
        return taken

    def _take_free(
        self, jobs: Mapping[str, Delivery], known: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, GuardRow]:
        taken: dict[str, GuardRow] = {}
        alive = self._alive(jobs, known)
        with self._table.locked(jobs) as free:
            for id, job in jobs.items():
                row = known.get(id)
                if row is None:
                    taken[id] = _BUSY  # it was deleted this moment
                    continue
                number = int(row["reservation"])
                ours = self._ours.get(id) == number
                state = state_of(row, job, ours=ours, alive=id in alive)
                cancelled = row["cancelled"] and not row["ended"]
                kept = state in (GuardState.ENDED, GuardState.OURS, GuardState.BUSY)
                if kept and not cancelled:
                    taken[id] = GuardRow(state, number, held_as=row["held_as"])
                elif id not in free:
                    taken[id] = _LOCKED
                elif state is GuardState.ENDED:
                    taken[id] = self._end_cancelled(row, job)
                else:
                    taken[id] = self._renumber(row, job, state)
        return taken

    def _renumber(self, row: Mapping[str, Any], job: Delivery, state: GuardState) -> GuardRow:
        """Take over an existing row, if it still is as it was read."""
        number, attempts = int(row["reservation"]), int(row["attempts"])
        interruptions, history = int(row["interruptions"]), str(row["history"])
        if row["ended"]:  # this is another push, after the end of an earlier one
            attempts, interruptions, history = 0, 0, ""
        attempts += state is GuardState.READY
        changed = self._as_read(row, job).update(
            reservation=number + 1,
            attempts=attempts,
            interruptions=interruptions,
            history=history,
            ended=False,
            cancelled=False,
            held_as=job.stored_as,
            push_id=job.push,
            updated_at=UtcNow(),
        )
        return GuardRow(state, number + 1, attempts, interruptions, history) if changed else _BUSY

    def _end_cancelled(self, row: Mapping[str, Any], job: Delivery) -> GuardRow:
        """End a job that was cancelled before a worker began it."""
        self._as_read(row, job).update(
            ended=True, held_as=job.stored_as, push_id=job.push, updated_at=UtcNow()
        )
        return GuardRow(GuardState.ENDED, int(row["reservation"]))

    def _as_read(self, row: Mapping[str, Any], job: Delivery) -> QuerySet[Run]:
        same = {name: row[name] for name in ("reservation", "ended", "held_as", "cancelled")}
        return self._table.rows.filter(uuid=job.id, **same)

    def _alive(
        self, jobs: Mapping[str, Delivery], known: Mapping[str, Mapping[str, Any]]
    ) -> set[str]:
        """Return the jobs whose workers cannot be gone: they have extended within the lease.
        Without a lease only the store knows which workers live: what it hands out is free, and
        another copy of the same push is held as long as the store has it.
        """
        if self._lease is None:
            held = {id: known[id]["held_as"] for id in jobs if id in known}
            free = ("", *self._gone)
            return {id for id, as_ in held.items() if as_ not in (jobs[id].stored_as, *free)}
        since = UtcNow() - timedelta(seconds=self._lease)
        rows = self._table.rows.filter(uuid__in=list(jobs), updated_at__gt=since)
        return {str(id) for id in rows.values_list("uuid", flat=True)}
