"""The rows: taken when a job is handed out, changed under their numbers, removed at the end."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import IntegrityError, connections, transaction
from django.db.models import F, Q, QuerySet

from djqueue.drivers.base import Settlement, Verdict
from djqueue.drivers.guard.state import Found, Guarded, Held
from djqueue.drivers.guard.statements import Statements
from djqueue.drivers.guard.table import locked, reported, rows_in, slices
from djqueue.drivers.guard.taking import Asked, Taking
from djqueue.drivers.now import UtcNow

if TYPE_CHECKING:
    from djqueue.models import Run

KEEP = timedelta(days=15)
"""How long the row of a job that is not over is kept after the job was due: longer than SQS keeps
a message."""
CANCELLED = timedelta(days=366)
"""How long a row is kept that says that a job was cancelled, since nobody knows when it is due."""
DAY = 86400.0


class _Written(NamedTuple):
    """What a verdict that keeps the job changes in its row."""

    number: int
    charged: bool
    interrupted: bool
    history: str | None
    days: int
    """Until it is due, rounded up."""


def _written(settlement: Settlement, number: int) -> _Written:
    released = settlement.verdict is Verdict.RELEASE
    delay = settlement.delay if released else 0.0
    return _Written(
        number,
        released and settlement.charged,
        settlement.verdict is Verdict.INTERRUPTED,
        settlement.history,
        math.ceil(delay / DAY),
    )


class Guard:
    """The guard rows on one database alias.

    Errors of the database are `QueueUnavailable`, whose cause is the `DatabaseError`.
    """

    def __init__(self, alias: str, lease: float | None = None, keep: timedelta = KEEP) -> None:
        """`lease`: seconds after `extend` in which a reservation is alive whatever the store does.
        None: the store never hands out what is held. `keep`: how long the row of a job that is not
        over is kept after the job was due.
        """
        self.alias = alias
        self.patience: float | None = None
        """As `Driver.patience`."""
        self._keep = keep
        self._statements = Statements(alias)
        self._taking = Taking(alias, lease, self._statements)

    @property
    def _rows(self) -> QuerySet[Run]:
        return rows_in(self.alias)

    def _reported(self) -> AbstractContextManager[None]:
        return reported(self.alias, self.patience)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written within it is written as one, or not at all."""
        with self._reported(), transaction.atomic(using=self.alias):
            yield

    def take(
        self,
        found: Sequence[Found],
        ours: Mapping[str, int],
        gone: AbstractSet[str] = frozenset(),
    ) -> list[Guarded]:
        """Put on record that `found` are handed out now; what is known about each, in order.

        `ours` has the numbers of what this worker holds, by id. `gone` are ids of the store's own
        (`Guarded.held_as`) that it no longer has: nobody holds a job as one of those.
        """
        asked = Asked(ours, gone)
        with self._reported():
            try:
                return self._taking.take(found, asked)
            except IntegrityError:  # somebody has just made a row of the same id
                return self._taking.take(found, asked)

    # -- settling ------------------------------------------------------------------------------

    def put_back(self, settlements: Sequence[tuple[Settlement, int]]) -> set[str]:
        """Write what a verdict that keeps the job says, each under its number; the lost ids."""
        groups: dict[Any, list[str]] = defaultdict(list)
        for settlement, number in settlements:
            groups[_written(settlement, number)].append(settlement.reservation.id)
        lost: set[str] = set()
        with self.together():
            for written, ids in groups.items():
                number = written.number
                # Whoever took the job over has the next number too, and holds it.
                done = Q(reservation=number + 1, held_as="")
                lost |= self._change(ids, number, self._changes(written), done)
        return lost

    def put_back_now(self, settlement: Settlement, number: int) -> bool:
        """As `put_back`, for one job; whether it was not put back, nor lost, before."""
        written = _written(settlement, number)
        with self._reported():
            held = self._held([settlement.reservation.id], number)
            return held.update(**self._changes(written), updated_at=UtcNow()) == 1

    def _changes(self, written: _Written) -> dict[str, Any]:
        changes: dict[str, Any] = {"held_as": "", "reservation": written.number + 1}
        if not written.charged:
            changes["attempts"] = F("attempts") - 1
        if written.interrupted:
            changes["interruptions"] = F("interruptions") + 1
        if written.history is not None:
            changes["history"] = written.history
        if written.days or self._keep > KEEP:
            changes["keep_until"] = UtcNow() + (timedelta(days=written.days) + self._keep)
        return changes

    def end(self, held: Iterable[Held]) -> set[str]:
        """Put on record that the jobs are over; the lost ids."""
        lost: set[str] = set()
        with self._reported():
            for number, ids in _by_number(held):
                done = Q(reservation=number, ended=True, cancelled=False)
                lost |= self._change(ids, number, {"ended": True}, done)
        return lost

    def _change(self, ids: list[str], number: int, changes: Mapping[str, Any], done: Q) -> set[str]:
        """Update the rows that are held under `number`; the ids of those that neither were, nor are
        `done` already.
        """
        lost: set[str] = set()
        for some in slices(ids):
            if self._held(some, number).update(**changes, updated_at=UtcNow()) < len(some):
                changed = self._rows.filter(done, uuid__in=some)
                lost |= set(some) - {str(id) for id in changed.values_list("uuid", flat=True)}
        return lost

    def _held(self, ids: Sequence[str], number: int) -> QuerySet[Run]:
        """The rows that are held under `number`, and neither over nor cancelled."""
        rows = self._rows.filter(uuid__in=ids, reservation=number, ended=False, cancelled=False)
        return rows.exclude(held_as="")

    def mark(self, held: Held, *, over: bool) -> bool:
        """Inside a transaction on the alias: make sure the reservation is ours until it commits,
        and with `over` that the job is over then. False: lost, or cancelled, or without `over`:
        over already. Marking over twice is once.
        """
        rows = self._rows.filter(uuid=held.id, reservation=held.number, cancelled=False)
        rows = rows.exclude(held_as="") if over else self._held([held.id], held.number)
        return rows.update(ended=over, updated_at=UtcNow()) == 1

    def cancel(self, id: str, *, unseen: bool) -> bool:
        """Put on record that a job is cancelled: a worker that comes upon it removes it, and the
        outcome of one that runs is ignored. Whether it is on record.

        `unseen`: although no worker has ever held the job, as far as the rows tell.
        """
        from djqueue.models import Run

        with self._reported():
            if self._cancel(id):
                return True
            if not unseen or self._rows.filter(uuid=id).exists():
                return False
            row = Run(
                uuid=id,
                cancelled=True,
                updated_at=UtcNow(),
                keep_until=UtcNow() + CANCELLED,
                push_id="",
            )
            try:
                with transaction.atomic(using=self.alias):
                    row.save(using=self.alias, force_insert=True)
            except IntegrityError:  # a worker has just begun it
                return self._cancel(id)
            return True

    def _cancel(self, id: str) -> bool:
        rows = self._rows.filter(uuid=id, ended=False, cancelled=False)
        return rows.update(cancelled=True, keep_until=UtcNow() + CANCELLED) == 1

    def forget(self, held: Iterable[Held]) -> None:
        """Remove the rows of jobs that have left the store."""
        with self._reported():
            for number, ids in _by_number(held):
                for some in slices(ids):
                    self._statements.delete(some, number)

    def forget_waiting(self, ids: Sequence[str]) -> None:
        """Remove the rows of jobs that were deleted while nobody held them."""
        with self._reported():
            for some in slices(ids):
                self._rows.filter(uuid__in=some, held_as="")._raw_delete(self.alias)

    # -- holding -------------------------------------------------------------------------------

    def ours(self, held: Iterable[Held]) -> set[str]:
        """The ids that are still held under those numbers, and neither over nor cancelled."""
        found: set[str] = set()
        with self._reported():
            for number, ids in _by_number(held):
                for some in slices(ids):
                    kept = self._held(some, number).values_list("uuid", flat=True)
                    found |= {str(id) for id in kept}
        return found

    def cancelled(self, ids: Sequence[str]) -> set[str]:
        """Those that somebody has cancelled."""
        found: set[str] = set()
        with self._reported():
            for some in slices(ids):
                rows = self._rows.filter(uuid__in=some, cancelled=True)
                found |= {str(id) for id in rows.values_list("uuid", flat=True)}
        return found

    def extend(self, held: Sequence[Held]) -> set[str]:
        """The sign of life; the lost ids. A row that its own job has locked is alive, and what has
        ended under its own number is not lost.
        """
        ours = self.ours(held)
        with self._reported(), locked(self.alias, ours) as free:
            for some in slices(sorted(free)):
                self._rows.filter(uuid__in=some).update(updated_at=UtcNow())
        return (
            {each.id for each in held} - ours - self._ended([e for e in held if e.id not in ours])
        )

    def _ended(self, held: Sequence[Held]) -> set[str]:
        found: set[str] = set()
        with self._reported():
            for number, ids in _by_number(held):
                for some in slices(ids):
                    done = Q(reservation=number, ended=True, cancelled=False)
                    rows = self._rows.filter(done, uuid__in=some)
                    found |= {str(id) for id in rows.values_list("uuid", flat=True)}
        return found

    def close(self) -> None:
        """Close the connection, outside transactions."""
        connection = connections[self.alias]
        if not connection.in_atomic_block:
            connection.close()


def _by_number(held: Iterable[Held]) -> Iterable[tuple[int, list[str]]]:
    groups: dict[int, list[str]] = defaultdict(list)
    for id, number in held:
        groups[number].append(id)
    return groups.items()
