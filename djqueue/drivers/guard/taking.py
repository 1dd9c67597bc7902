"""Taking: a job that the store hands out gets a row, or the next number in the one it has."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections, transaction

from djqueue.drivers.guard.state import Found, Guarded, Standing, standing_of
from djqueue.drivers.guard.table import AT_ONCE, locked, rows_in, slices
from djqueue.drivers.now import UtcNow

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.drivers.guard.statements import Statements
    from djqueue.models import Run

PATIENCE, PAUSE = 5, 0.01
"""How often to try again for a locked row, and seconds between two tries."""

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
_NEW = Guarded(Standing.READY)
_BUSY = Guarded(Standing.BUSY)
_LOCKED = Guarded(Standing.BUSY, 0)


class Asked(NamedTuple):
    """What `Guard.take` is told beside the jobs."""

    ours: Mapping[str, int]
    gone: AbstractSet[str]


class Taking:
    """Hands out jobs in the order of their rows' numbers."""

    def __init__(self, alias: str, lease: float | None, statements: Statements) -> None:
        self._alias = alias
        self._lease = lease
        """See `Guard`."""
        self._statements = statements

    def take(self, found: Sequence[Found], asked: Asked) -> list[Guarded]:
        """What is known about each, in order. `IntegrityError`: to be asked again."""
        first: dict[str, Found] = {}
        for job in found:
            first.setdefault(job.id, job)
        known = self._known(list(first))
        self._insert(job for id, job in first.items() if id not in known)
        old = {id: job for id, job in first.items() if id in known}
        taken = dict.fromkeys(first, _NEW)
        taken.update(self._take_known(old, known, asked) if old else {})
        # The same id twice in one answer: the second one waits until the first is over.
        return [taken.pop(job.id, _BUSY) for job in found]

    def _known(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The rows that there are. Most jobs have none yet, and asking for ids alone is cheap."""
        there = [id for some in slices(ids) for id in self._statements.existing(some)]
        if not there:
            return {}
        values = rows_in(self._alias).filter(uuid__in=there).values("uuid", *_FIELDS)
        return {str(row["uuid"]): row for row in values}

    def _insert(self, jobs: Iterable[Found]) -> None:
        new = list(jobs)
        several = len(new) > AT_ONCE or connections[self._alias].in_atomic_block
        # All or none: what was written here must not look like somebody else's next time.
        with transaction.atomic(using=self._alias) if several else nullcontext():
            for start in range(0, len(new), AT_ONCE):
                self._statements.insert(new[start : start + AT_ONCE])

    def _take_known(
        self,
        jobs: Mapping[str, Found],
        known: Mapping[str, Mapping[str, Any]],
        asked: Asked,
    ) -> dict[str, Guarded]:
        """As `_take_again`, with a little patience: InnoDB locks neighbours along with a row, and
        whoever locks a row commits in a moment.
        """
        taken = self._take_again(jobs, known, asked)
        for _ in range(PATIENCE):
            locked = {id: jobs[id] for id, guarded in taken.items() if guarded is _LOCKED}
            if not locked:
                break
            time.sleep(PAUSE)
            taken.update(self._take_again(locked, self._known(list(locked)), asked))
        return taken

    def _take_again(
        self,
        jobs: Mapping[str, Found],
        known: Mapping[str, Mapping[str, Any]],
        asked: Asked,
    ) -> dict[str, Guarded]:
        taken: dict[str, Guarded] = {}
        alive = self._alive(jobs, known, asked.gone)
        with locked(self._alias, jobs) as free:
            for id, job in jobs.items():
                row = known.get(id)
                if row is None:
                    taken[id] = _BUSY  # it was removed this moment
                    continue
                number = int(row["reservation"])
                ours = asked.ours.get(id) == number
                standing = standing_of(row, job, ours=ours, alive=id in alive)
                cancelled = row["cancelled"] and not row["ended"]
                kept = standing in (Standing.OVER, Standing.OURS, Standing.BUSY)
                if kept and not cancelled:
                    taken[id] = Guarded(standing, number, held_as=row["held_as"])
                elif id not in free:
                    taken[id] = _LOCKED
                elif standing is Standing.OVER:
                    taken[id] = self._end_cancelled(row, job)
                else:
                    taken[id] = self._renumber(row, job, standing)
        return taken

    def _renumber(self, row: Mapping[str, Any], job: Found, standing: Standing) -> Guarded:
        """Take over an existing row, if it still is as it was read."""
        number, attempts = int(row["reservation"]), int(row["attempts"])
        interruptions, history = int(row["interruptions"]), str(row["history"])
        if row["ended"]:  # this is another push, after the end of an earlier one
            attempts, interruptions, history = 0, 0, ""
        attempts += standing is Standing.READY
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
        return Guarded(standing, number + 1, attempts, interruptions, history) if changed else _BUSY

    def _end_cancelled(self, row: Mapping[str, Any], job: Found) -> Guarded:
        """What was cancelled before anybody began it is over now."""
        self._as_read(row, job).update(
            ended=True, held_as=job.stored_as, push_id=job.push, updated_at=UtcNow()
        )
        return Guarded(Standing.OVER, int(row["reservation"]))

    def _as_read(self, row: Mapping[str, Any], job: Found) -> QuerySet[Run]:
        same = {name: row[name] for name in ("reservation", "ended", "held_as", "cancelled")}
        return rows_in(self._alias).filter(uuid=job.id, **same)

    def _alive(
        self,
        jobs: Mapping[str, Found],
        known: Mapping[str, Mapping[str, Any]],
        gone: AbstractSet[str],
    ) -> set[str]:
        """Those whose holders cannot be gone: they have given a sign of life within the lease.

        Without a lease the store alone knows who lives: what it hands out is free, and another copy
        of the same push is held as long as the store has it.
        """
        if self._lease is None:
            there = {id: known[id]["held_as"] for id in jobs if id in known}
            return {id for id, as_ in there.items() if as_ not in ("", jobs[id].stored_as, *gone)}
        since = UtcNow() - timedelta(seconds=self._lease)
        rows = rows_in(self._alias).filter(uuid__in=list(jobs), updated_at__gt=since)
        return {str(id) for id in rows.values_list("uuid", flat=True)}
