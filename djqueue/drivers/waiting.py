"""What operators see of a store, with the jobs that are parked for it in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from django.db.models import Q, Subquery

from djqueue.databases import counting
from djqueue.drivers import parking
from djqueue.drivers.base import Change, Inspector, State

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.drivers.base import QueueCounts, StoredJob
    from djqueue.drivers.types import Census
    from djqueue.models import Outbox

__all__ = ["WithParked"]


class WithParked(Inspector):
    """Another inspector, and the parked jobs beside its delayed ones. It changes the store alone:
    what is done to parked jobs is up to `djqueue.composition.removing`.
    """

    def __init__(self, store: Inspector, alias: str) -> None:
        super().__init__(store.settings, store.capabilities)
        self._store = store
        self._alias = alias

    def counts(self, queue: str) -> QueueCounts:
        return _with(self._store.counts(queue), self._rows(queue).count())

    def queues(self) -> list[str]:
        return sorted({*self._store.queues(), *self._queues()})

    def _queues(self) -> Iterable[str]:
        return self._rows().order_by("queue").values_list("queue", flat=True).distinct()

    def census(self, known: Iterable[str], at_most: int | None = None) -> Mapping[str, Census]:
        if at_most is None:
            return super().census(known)
        held = self._store.census({*known, *self._queues()}, at_most)
        asked = [counting.number(self._rows(queue), at_most) for queue in held]
        parked = counting.answers(self._alias, asked)
        return {
            queue: each._replace(counts=_with(each.counts, number))
            for (queue, each), number in zip(held.items(), parked, strict=True)
        }

    def peek(
        self, queue: str, state: State, limit: int = 20, after: str | None = None
    ) -> list[StoredJob]:
        """Return jobs of the store, and after its delayed ones the parked ones."""
        if state is not State.DELAYED:
            return self._store.peek(queue, state, limit, after)
        rows = self._rows(queue).order_by("due_at", "id")
        here = rows.filter(uuid__in=[] if after is None else parking.uuids([after]))
        last = here.first()
        found = []
        if last is None:
            found = self._store.peek(queue, state, limit, after)
        else:
            # Compared in the database: SQLite has times as texts, and writes its own ones shorter.
            due = Subquery(here.order_by().values("due_at")[:1])
            rows = rows.filter(Q(due_at__gt=due) | Q(due_at=due, pk__gt=last.pk))
        return [*found, *parking.described(rows[: limit - len(found)])]

    def find(self, ids: Sequence[str]) -> list[StoredJob]:
        found = parking.described(self._rows().filter(uuid__in=parking.uuids(ids)))
        here = {job.id for job in found}
        left = [id for id in ids if id not in here]
        return [*found, *self._store.find(left)] if left else found

    def search(self, part: str, limit: int = 20) -> list[StoredJob]:
        parked = parking.search(self._rows(), part)[:limit]
        return [*parking.described(parked), *self._store.search(part, limit)][:limit]

    def heads(self, queue: str) -> list[StoredJob]:
        return self._store.heads(queue)

    def make_due(self, queue: str) -> int:
        parked = parking.make_due(self._rows(queue))
        return parked + self._store.make_due(queue)

    def unique_keys(self, queue: str) -> Mapping[str, str]:
        return self._store.unique_keys(queue)

    def change(self, change: Change, queue: str, seen: Mapping[str, str]) -> set[str]:
        return self._store.change(change, queue, seen)

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool = False) -> int:
        return self._store.remove(queue, ids, even_running=even_running)

    def cancel(self, id: str, *, unseen: bool) -> bool:
        return self._store.cancel(id, unseen=unseen)

    def release(self, queue: str, ids: Sequence[str]) -> int:
        return self._store.release(queue, ids)

    def clear(self, queue: str) -> int:
        return self._store.clear(queue)

    def warnings(self) -> list[str]:
        return self._store.warnings()

    def _rows(self, queue: str | None = None) -> QuerySet[Outbox]:
        return parking.parked(self._alias, self.settings.name, queue)


def _with(counts: QueueCounts, parked: int) -> QueueCounts:
    return counts._replace(delayed=(counts.delayed or 0) + parked) if parked else counts
