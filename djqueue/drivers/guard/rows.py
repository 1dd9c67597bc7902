"""The rows: taken when a job is handed out, changed under their numbers, removed at the end."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.models import F, Q, QuerySet

from djqueue.drivers.base import Settlement, Verdict
from djqueue.drivers.guard.standing import Found, Guarded, Held, Standing, standing_of
from djqueue.drivers.guard.statements import Statements
from djqueue.drivers.now import UtcNow
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from djqueue.models import Run

AT_ONCE = 200
"""Rows in one statement. SQLite takes 999 parameters."""
PATIENCE, PAUSE = 5, 0.01
"""How often to try again for a locked row, and seconds between two tries."""

_FIELDS = ("reservation", "attempts", "interruptions", "history", "ended", "held_as")
_NEW = Guarded(Standing.READY)
_BUSY = Guarded(Standing.BUSY)
_LOCKED = Guarded(Standing.BUSY, 0)


class Guard:
    """The guard rows on one database alias.

    Errors of the database are `QueueUnavailable`, whose cause is the `DatabaseError`.
    """

    def __init__(self, alias: str, lease: float | None = None) -> None:
        self.alias = alias
        self._lease = lease
        """Seconds after `extend` in which a reservation is alive whatever the store does. None:
        the store never hands out what is held."""
        self._statements = Statements(alias)

    @property
    def _rows(self) -> QuerySet[Run]:
        from djqueue.models import Run

        return Run.objects.using(self.alias)

    # -- reserving -----------------------------------------------------------------------------

    def take(self, found: Sequence[Found], ours: Mapping[str, int]) -> list[Guarded]:
        """Put on record that `found` are handed out now; what is known about each, in order.

        `ours` has the numbers of what this worker holds, by id.
        """
        with self._reported():
            try:
                return self._take(found, ours)
            except IntegrityError:  # somebody has just made a row of the same id
                return self._take(found, ours)

    def _take(self, found: Sequence[Found], ours: Mapping[str, int]) -> list[Guarded]:
        known = self._known([job.id for job in found])
        self._insert({job.id: job for job in found if job.id not in known}.values())
        old = {job.id: job for job in found if job.id in known}
        taken = self._take_known(old, known, ours) if old else {}
        first: dict[str, Guarded] = {}
        for job in found:
            first.setdefault(job.id, taken.get(job.id, _NEW))
        # The same id twice in one answer: one of them waits until the other is over.
        return [first.pop(job.id, _BUSY) for job in found]

    def _known(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The rows that there are. Most jobs have none yet, and asking for ids alone is cheap."""
        there = [id for some in _slices(ids) for id in self._statements.existing(some)]
        if not there:
            return {}
        values = self._rows.filter(uuid__in=there).values("uuid", *_FIELDS)
        return {str(row["uuid"]): row for row in values}

    def _insert(self, jobs: Iterable[Found]) -> None:
        new = list(jobs)
        several = len(new) > AT_ONCE or connections[self.alias].in_atomic_block
        # All or none: what was written here must not look like somebody else's next time.
        with transaction.atomic(using=self.alias) if several else nullcontext():
            for start in range(0, len(new), AT_ONCE):
                self._statements.insert(new[start : start + AT_ONCE])

    def _take_known(
        self,
        jobs: Mapping[str, Found],
        known: Mapping[str, Mapping[str, Any]],
        ours: Mapping[str, int],
    ) -> dict[str, Guarded]:
        """As `_take_again`, with a little patience: InnoDB locks neighbours along with a row, and
        whoever locks a row commits in a moment.
        """
        taken = self._take_again(jobs, known, ours)
        for _ in range(PATIENCE):
            locked = {id: jobs[id] for id, guarded in taken.items() if guarded is _LOCKED}
            if not locked:
                break
            time.sleep(PAUSE)
            taken.update(self._take_again(locked, self._known(list(locked)), ours))
        return taken

    def _take_again(
        self,
        jobs: Mapping[str, Found],
        known: Mapping[str, Mapping[str, Any]],
        ours: Mapping[str, int],
    ) -> dict[str, Guarded]:
        taken: dict[str, Guarded] = {}
        alive = self._alive(jobs)
        with self._locked(jobs) as free:
            for id, job in jobs.items():
                row = known.get(id)
                if row is None:
                    taken[id] = _BUSY  # it was removed this moment
                    continue
                number = int(row["reservation"])
                standing = standing_of(row, job, ours.get(id) == number)
                if standing is Standing.ORPHANED and id in alive:
                    standing = Standing.BUSY
                if standing in (Standing.OVER, Standing.OURS, Standing.BUSY):
                    taken[id] = Guarded(standing, number)
                elif id not in free:
                    taken[id] = _LOCKED
                else:
                    taken[id] = self._renumber(row, job, standing)
        return taken

    def _renumber(self, row: Mapping[str, Any], job: Found, standing: Standing) -> Guarded:
        """Take over an existing row, if it still is as it was read."""
        number, attempts = int(row["reservation"]), int(row["attempts"])
        interruptions, history = int(row["interruptions"]), str(row["history"])
        if row["ended"] or row["held_as"] not in ("", job.stored_as):
            # Another job of the store under the same id: it was pushed again after its end.
            attempts, interruptions, history = 0, 0, ""
        attempts += standing is Standing.READY
        same = self._rows.filter(uuid=job.id, **{name: row[name] for name in _FIELDS[:1]})
        changed = same.filter(ended=row["ended"], held_as=row["held_as"]).update(
            reservation=number + 1,
            attempts=attempts,
            interruptions=interruptions,
            history=history,
            ended=False,
            held_as=job.stored_as,
            updated_at=UtcNow(),
        )
        return Guarded(standing, number + 1, attempts, interruptions, history) if changed else _BUSY

    def _alive(self, ids: Iterable[str]) -> set[str]:
        """Those whose holder has given a sign of life within the lease."""
        if self._lease is None:
            return set()
        since = UtcNow() - timedelta(seconds=self._lease)
        rows = self._rows.filter(uuid__in=list(ids), updated_at__gt=since)
        return {str(id) for id in rows.values_list("uuid", flat=True)}

    @contextmanager
    def _locked(self, ids: Iterable[str]) -> Iterator[set[str]]:
        """Those of `ids` whose rows nobody else has locked; nothing waits for a row here.

        SQLite has no locks of rows, and each statement compares before it writes anyway. Its
        transaction must not begin with a read: it could not write after somebody else has.
        """
        with transaction.atomic(using=self.alias):
            if not connections[self.alias].features.has_select_for_update_skip_locked:
                yield set(ids)
                return
            rows = self._rows.filter(uuid__in=list(ids)).select_for_update(skip_locked=True)
            yield {str(id) for id in rows.values_list("uuid", flat=True)}

    # -- settling ------------------------------------------------------------------------------

    def put_back(self, settlements: Sequence[tuple[Settlement, int]]) -> set[str]:
        """Write what a verdict that keeps the job says, each under its number; the lost ids."""
        groups: dict[Any, list[str]] = defaultdict(list)
        for settlement, number in settlements:
            charged = settlement.verdict is Verdict.RELEASE and settlement.charged
            interrupted = settlement.verdict is Verdict.INTERRUPTED
            groups[number, charged, interrupted, settlement.history].append(
                settlement.reservation.id
            )
        lost: set[str] = set()
        with self._reported(), transaction.atomic(using=self.alias):
            for (number, charged, interrupted, history), ids in groups.items():
                changes: dict[str, Any] = {"held_as": "", "reservation": number + 1}
                if not charged:
                    changes["attempts"] = F("attempts") - 1
                if interrupted:
                    changes["interruptions"] = F("interruptions") + 1
                if history is not None:
                    changes["history"] = history
                # Whoever took the job over has the next number too, and holds it.
                lost |= self._change(
                    ids, number, changes, lambda n: Q(reservation=n + 1, held_as="")
                )
        return lost

    def end(self, held: Iterable[Held]) -> set[str]:
        """Put on record that the jobs are over; the lost ids."""
        lost: set[str] = set()
        with self._reported():
            for number, ids in _by_number(held):
                lost |= self._change(
                    ids, number, {"ended": True}, lambda n: Q(reservation=n, ended=True)
                )
        return lost

    def _change(
        self, ids: list[str], number: int, changes: Mapping[str, Any], done: Callable[[int], Q]
    ) -> set[str]:
        """Update the rows that are held under `number` and not over; the ids of the others."""
        lost: set[str] = set()
        for some in _slices(ids):
            held = self._rows.filter(uuid__in=some, reservation=number, ended=False)
            if held.exclude(held_as="").update(**changes, updated_at=UtcNow()) < len(some):
                changed = self._rows.filter(done(number), uuid__in=some)
                lost |= set(some) - {str(id) for id in changed.values_list("uuid", flat=True)}
        return lost

    def mark(self, held: Held, *, over: bool) -> bool:
        """Inside a transaction on the alias: make sure the reservation is ours until it commits,
        and with `over` that the job is over then. False: lost. Marking over twice is once.
        """
        rows = self._rows.filter(uuid=held.id, reservation=held.number).exclude(held_as="")
        rows = rows if over else rows.filter(ended=False)
        return rows.update(ended=over, updated_at=UtcNow()) == 1

    def forget(self, held: Iterable[Held]) -> None:
        """Remove the rows of jobs that have left the store."""
        with self._reported():
            for number, ids in _by_number(held):
                for some in _slices(ids):
                    self._statements.delete(some, number)

    def forget_waiting(self, ids: Sequence[str]) -> None:
        """Remove the rows of jobs that were deleted while nobody held them."""
        with self._reported():
            for some in _slices(ids):
                self._rows.filter(uuid__in=some, held_as="")._raw_delete(self.alias)

    # -- holding -------------------------------------------------------------------------------

    def ours(self, held: Iterable[Held]) -> set[str]:
        """The ids that are still held under those numbers and not over."""
        found: set[str] = set()
        with self._reported():
            for number, ids in _by_number(held):
                for some in _slices(ids):
                    rows = self._rows.filter(uuid__in=some, reservation=number, ended=False)
                    kept = rows.exclude(held_as="").values_list("uuid", flat=True)
                    found |= {str(id) for id in kept}
        return found

    def extend(self, held: Sequence[Held]) -> set[str]:
        """The sign of life; the lost ids. A row that its own job has locked is alive."""
        ours = self.ours(held)
        with self._reported(), self._locked(ours) as free:
            for some in _slices(sorted(free)):
                self._rows.filter(uuid__in=some).update(updated_at=UtcNow())
        return {each.id for each in held} - ours

    def close(self) -> None:
        """Close the connection, outside transactions."""
        connection = connections[self.alias]
        if not connection.in_atomic_block:
            connection.close()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            raise QueueUnavailable(
                f'The guard rows in database "{self.alias}" could not be read or written: {error}'
            ) from error


def _by_number(held: Iterable[Held]) -> Iterable[tuple[int, list[str]]]:
    groups: dict[int, list[str]] = defaultdict(list)
    for id, number in held:
        groups[number].append(id)
    return groups.items()


def _slices(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]
