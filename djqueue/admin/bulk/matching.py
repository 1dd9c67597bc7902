"""The rows that match a list's filters, slice by slice, up to the newest when the act began."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from djqueue.admin.lists.selection import Key, key_of
from djqueue.admin.lists.store_jobs import StoreRows, row_of
from djqueue.databases.now import aware
from djqueue.dispatch.connections import queues
from djqueue.drivers.base import State

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet

    from djqueue.drivers.base import StoredJob

__all__ = ["Cursor", "InStore", "InTable", "Matching", "Part"]

Cursor = list[Any]
"""How far the slices have come; JSON."""
_STATES = (State.DELAYED, State.WAITING, State.STUCK, State.RESERVED)
"""In an order in which a job that goes its usual way is met once at least."""


class Part(NamedTuple):
    """A slice."""

    keys: Sequence[Key]
    cursor: Cursor
    """Where the next slice begins, if all of these are gone by then."""
    read: Sequence[tuple[Key, str]] = ()
    """Keys and ids of all that was read for it, in order, meant or not."""
    ended: bool = False
    """Nothing comes behind it."""


class Matching(Protocol):
    """What a list's filters leave."""

    def count(self) -> int | None:
        """Return how many rows match; None if that is not known."""

    def sample(self, limit: int) -> list[Any]:
        """Return some of the rows."""

    def next(self, cursor: Cursor, limit: int) -> Part:
        """Return the slice behind `cursor`, which is empty at first."""

    def behind(self, part: Part, changed: Collection[Key]) -> Cursor:
        """Return where the next slice begins, when `changed` of those in `part` are changed."""


@dataclass
class InTable:
    """Rows of a table, by row number."""

    rows: QuerySet[Any]
    newest: int

    @classmethod
    def of(cls, rows: QuerySet[Any], newest: int | None) -> InTable:
        """Return the rows up to the number `newest`; up to the newest now if it is None."""
        if newest is None:
            newest = rows.order_by("-pk").values_list("pk", flat=True).first() or 0
        return cls(rows.filter(pk__lte=newest), newest)

    def count(self) -> int | None:
        """Return how many rows match."""
        return self.rows.order_by().values("pk").count()

    def sample(self, limit: int) -> list[Any]:
        """Return some of the rows."""
        return list(self.rows.order_by("pk")[:limit])

    def next(self, cursor: Cursor, limit: int) -> Part:
        """Return the slice behind `cursor`."""
        last = cursor[0] if cursor else 0
        rows = self.rows.filter(pk__gt=last).order_by("pk")
        keys = list(rows.values_list("pk", flat=True)[:limit])
        return Part(keys, keys[-1:] or cursor, ended=len(keys) < limit)

    def behind(self, part: Part, changed: Collection[Key]) -> Cursor:
        """Return where the next slice begins."""
        return part.cursor


@dataclass
class InStore:
    """Jobs of another store, in the order in which they run. Those that were dispatched after the
    act began are passed by.
    """

    rows: StoreRows
    began: datetime

    def count(self) -> int | None:
        """Return how many rows match."""
        if not self.rows.wanted.everything:
            return None
        inspector = queues[self.rows.connection].inspector
        total = 0
        for queue in self._queues():
            counts = inspector.counts(queue)
            of_state = {State.WAITING: counts.waiting, State.DELAYED: counts.delayed}
            if {State.RESERVED, State.STUCK} <= set(self.rows.states):
                of_state[State.RESERVED] = counts.reserved
            elif {State.RESERVED, State.STUCK} & set(self.rows.states):
                return None  # the count is of both
            wanted = [number for state, number in of_state.items() if state in self.rows.states]
            total += sum(number or 0 for number in wanted)
        return total

    def sample(self, limit: int) -> list[Any]:
        """Return some of the rows."""
        return [row_of(job) for job in self._read([], limit)[0] if self._is_meant(job)]

    def next(self, cursor: Cursor, limit: int) -> Part:
        """Return the slice behind `cursor`."""
        page, place = self._read(cursor, limit)
        keys = [(key_of(job.key or job.id), job.id) for job in page]
        meant = [key for (key, _id), job in zip(keys, page, strict=True) if self._is_meant(job)]
        return Part(meant, place, keys, ended=not page)

    def behind(self, part: Part, changed: Collection[Key]) -> Cursor:
        """Return the place behind the last job that is still there."""
        kept = [id for key, id in part.read if key not in changed]
        return [*part.cursor[:2], kept[-1]] if kept else part.cursor

    def _read(self, cursor: Cursor, limit: int) -> tuple[list[StoredJob], Cursor]:
        """Return the jobs behind `cursor`, and where they are: the number of a state, the name of a
        queue, and the id behind which they are there. A short page is not the end of a queue: what
        has changed its state meanwhile is not in it.
        """
        inspector = queues[self.rows.connection].inspector
        states = [state for state in _STATES if state in self.rows.states]
        at, queue, after = cursor or [0, "", ""]
        for number, state in enumerate(states):
            for name in sorted(self._queues()):
                if (number, name) < (at, queue):
                    continue
                behind = after if (number, name) == (at, queue) else ""
                page = inspector.peek(name, state, limit, behind or None)
                if page:
                    return page, [number, name, behind]
        return [], cursor

    def _is_meant(self, job: StoredJob) -> bool:
        created = aware(job.created_at)
        return (created is None or created <= self.began) and self.rows.wanted.fits(job)

    def _queues(self) -> list[str]:
        inspector = queues[self.rows.connection].inspector
        return inspector.queues() if self.rows.queue is None else [self.rows.queue]
