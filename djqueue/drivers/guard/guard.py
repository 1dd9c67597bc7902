"""Guard rows: taken when a job is handed out, changed under their numbers, deleted at the end."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet

from djqueue.compat import delete_rows
from djqueue.databases.now import UtcNow
from djqueue.drivers.guard.state import Claim, Delivery, GuardRow
from djqueue.drivers.guard.table import AT_ONCE, Table
from djqueue.drivers.guard.taking import Taking
from djqueue.drivers.slices import slices
from djqueue.drivers.types import Settlement, Verdict

if TYPE_CHECKING:
    from djqueue.models import Run

KEEP = timedelta(days=15)
"""How long the row of a job that has not ended is kept after the job was due: longer than SQS keeps
a message."""
KEEP_CANCELLED = timedelta(days=366)
"""How long the row of a cancelled job is kept, since it is not known when the job is due."""
DAY = 86400.0


class _Change(NamedTuple):
    """What a verdict that keeps the job changes in its row."""

    number: int
    charged: bool
    interrupted: bool
    history: str | None
    days: int
    """Until it is due, rounded up."""


def _change_of(settlement: Settlement, number: int) -> _Change:
    released = settlement.verdict is Verdict.RELEASE
    delay = settlement.delay if released else 0.0
    return _Change(
        number,
        released and settlement.charged,
        settlement.verdict is Verdict.INTERRUPTED,
        settlement.history,
        math.ceil(delay / DAY),
    )


class Guard:
    """The guard rows in one database. Its errors are `QueueUnavailable`, with the `DatabaseError`
    as the cause.
    """

    def __init__(self, alias: str, lease: float | None = None, keep: timedelta = KEEP) -> None:
        """`lease`: seconds after `extend` during which a claim holds, whatever the store hands out;
        None where the store never hands out what a worker holds. `keep`: how long the row of a job
        that has not ended is kept after the job was due.
        """
        self.alias = alias
        self._table = Table(alias)
        self._lease = lease
        self._keep = keep

    @property
    def patience(self) -> float | None:
        """As `Driver.patience`."""
        return self._table.patience

    @patience.setter
    def patience(self, seconds: float | None) -> None:
        self._table.patience = seconds

    @property
    def _rows(self) -> QuerySet[Run]:
        return self._table.rows

    def _translated_errors(self) -> AbstractContextManager[None]:
        return self._table.translated_errors()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all that is written in this block together, or nothing."""
        with self._translated_errors(), transaction.atomic(using=self.alias):
            yield

    def take(
        self,
        jobs: Sequence[Delivery],
        ours: Mapping[str, int],
        gone: AbstractSet[str] = frozenset(),
    ) -> list[GuardRow]:
        """Record that the store has handed out `jobs`. Return the row of each, in order. `ours`:
        the numbers of the jobs that this worker holds, by id. `gone`: ids of the store's own
        (`GuardRow.held_as`) that it no longer has, so that no worker holds a job as one of them.
        """
        taking = Taking(self._table, self._lease, ours, gone)
        with self._translated_errors():
            try:
                return taking.take(jobs)
            except IntegrityError:  # another worker has just written a row of the same id
                return taking.take(jobs)

    # -- settling ------------------------------------------------------------------------------

    def put_back(self, settlements: Sequence[tuple[Settlement, int]]) -> set[str]:
        """Write what a verdict that keeps the job changes, each under its number. Return the lost
        ids.
        """
        groups: dict[_Change, list[str]] = defaultdict(list)
        for settlement, number in settlements:
            groups[_change_of(settlement, number)].append(settlement.reservation.id)
        lost: set[str] = set()
        with self.transaction():
            for change, ids in groups.items():
                # A worker that took the job over has the next number too, but it holds the job.
                done = Q(reservation=change.number + 1, held_as="")
                lost |= self._update(ids, change.number, self._columns(change), done)
        return lost

    def put_back_once(self, settlement: Settlement, number: int) -> bool:
        """Do as `put_back` for one job. Return False if it was put back already, or is lost."""
        with self._translated_errors():
            held = self._rows.filter(_is_held(number), uuid=settlement.reservation.id)
            columns = self._columns(_change_of(settlement, number))
            return held.update(**columns, updated_at=UtcNow()) == 1

    def _columns(self, change: _Change) -> dict[str, Any]:
        columns: dict[str, Any] = {"held_as": "", "reservation": change.number + 1}
        if not change.charged:
            columns["attempts"] = F("attempts") - 1
        if change.interrupted:
            columns["interruptions"] = F("interruptions") + 1
        if change.history is not None:
            columns["history"] = change.history
        if change.days or self._keep > KEEP:
            columns["keep_until"] = UtcNow() + (timedelta(days=change.days) + self._keep)
        return columns

    def end(self, claims: Iterable[Claim]) -> set[str]:
        """Record that the jobs have ended. Return the lost ids."""
        lost: set[str] = set()
        with self._translated_errors():
            for number, ids in _by_number(claims):
                lost |= self._update(ids, number, {"ended": True}, _has_ended(number))
        return lost

    def _update(
        self, ids: Sequence[str], number: int, columns: Mapping[str, Any], done: Q
    ) -> set[str]:
        """Update the rows that are held under `number`. Return the ids of those that were not, and
        that are not `done` already.
        """
        lost: set[str] = set()
        for some in slices(ids, AT_ONCE):
            held = self._rows.filter(_is_held(number), uuid__in=some)
            if held.update(**columns, updated_at=UtcNow()) < len(some):
                lost |= set(some) - self._ids(done, some)
        return lost

    def confirm_end(self, claim: Claim, *, over: bool) -> bool:
        """Make sure, inside a transaction on the alias, that `claim` holds until it commits, and
        with `over` that the job has ended then. Return False if the claim is lost, or the job is
        cancelled or has ended already.
        """
        rows = self._rows.filter(_is_held(claim.number), uuid=claim.id)
        return rows.update(ended=over, updated_at=UtcNow()) == 1

    def cancel(self, id: str, *, unseen: bool) -> bool:
        """Record that a job is cancelled: a worker that is handed it deletes it, and the outcome of
        a worker that runs it is ignored. Return whether that is recorded. `unseen`: also when no
        worker has ever held the job, as far as the rows say.
        """
        from djqueue.models import Run

        with self._translated_errors():
            if self._cancel(id):
                return True
            if not unseen or self._rows.filter(uuid=id).exists():
                return False
            row = Run(
                uuid=id,
                cancelled=True,
                updated_at=UtcNow(),
                keep_until=UtcNow() + KEEP_CANCELLED,
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
        return rows.update(cancelled=True, keep_until=UtcNow() + KEEP_CANCELLED) == 1

    def delete(self, claims: Iterable[Claim]) -> None:
        """Delete the rows of jobs that have left the store."""
        with self._translated_errors():
            for number, ids in _by_number(claims):
                for some in slices(ids, AT_ONCE):
                    self._table.delete(some, number)

    def delete_unheld(self, ids: Sequence[str]) -> None:
        """Delete the rows of jobs that were deleted while no worker held them."""
        with self._translated_errors():
            for some in slices(ids, AT_ONCE):
                delete_rows(self._rows.filter(uuid__in=some, held_as=""), self.alias)

    # -- holding -------------------------------------------------------------------------------

    def still_held(self, claims: Iterable[Claim]) -> set[str]:
        """Return the ids of `claims` that hold, of jobs that have neither ended nor been
        cancelled.
        """
        with self._translated_errors():
            return self._ids_by_number(claims, _is_held)

    def cancelled(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that are cancelled."""
        with self._translated_errors():
            return self._ids(Q(cancelled=True), ids)

    def numbers(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return attempts, interruptions and history of jobs that have not ended, by their
        names.
        """
        names = ("attempts", "interruptions", "history")
        with self._translated_errors():
            rows = self._rows.filter(uuid__in=ids, ended=False, cancelled=False)
            return {
                str(row["uuid"]): {n: row[n] for n in names} for row in rows.values("uuid", *names)
            }

    def extend(self, claims: Sequence[Claim]) -> set[str]:
        """Renew `claims`. Return the lost ids. A row that is locked, by its own job, needs no
        renewal, and a job that has ended under its own number is not lost.
        """
        held = self.still_held(claims)
        with self._translated_errors():
            with self._table.locked(held) as free:
                for some in slices(sorted(free), AT_ONCE):
                    self._rows.filter(uuid__in=some).update(updated_at=UtcNow())
            others = [claim for claim in claims if claim.id not in held]
            return {claim.id for claim in others} - self._ids_by_number(others, _has_ended)

    def _ids_by_number(self, claims: Iterable[Claim], condition: Callable[[int], Q]) -> set[str]:
        found: set[str] = set()
        for number, ids in _by_number(claims):
            found |= self._ids(condition(number), ids)
        return found

    def _ids(self, condition: Q, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` whose rows fulfil `condition`."""
        found: set[str] = set()
        for some in slices(ids, AT_ONCE):
            rows = self._rows.filter(condition, uuid__in=some)
            found |= {str(id) for id in rows.values_list("uuid", flat=True)}
        return found

    def close(self) -> None:
        """Close the database connection, unless a transaction is open on it."""
        if not self._table.connection.in_atomic_block:
            self._table.connection.close()


def _is_held(number: int) -> Q:
    """Return the condition that a worker holds the job under `number`, and that it has neither
    ended nor been cancelled.
    """
    return Q(reservation=number, ended=False, cancelled=False) & ~Q(held_as="")


def _has_ended(number: int) -> Q:
    return Q(reservation=number, ended=True, cancelled=False)


def _by_number(claims: Iterable[Claim]) -> Iterable[tuple[int, list[str]]]:
    groups: dict[int, list[str]] = defaultdict(list)
    for id, number in claims:
        groups[number].append(id)
    return groups.items()
