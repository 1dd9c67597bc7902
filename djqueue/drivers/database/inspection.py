"""What operators ask of the jobs table: counting, looking, deleting. Plain ORM."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from django.db.models import Q, QuerySet

from djqueue.compat import delete_rows
from djqueue.databases.now import UtcNow, aware
from djqueue.drivers.base import Change, Inspector, QueueCounts, State, StoredJob
from djqueue.drivers.database import changing
from djqueue.drivers.database.census import census, lines
from djqueue.drivers.database.rows import IN_LINE, ORDER, behind, describe, in_state, jobs, put_back
from djqueue.text import short_ids

if TYPE_CHECKING:
    from djqueue.conf import ConnectionSettings
    from djqueue.drivers.base import Capabilities
    from djqueue.drivers.database.calls import Calls
    from djqueue.drivers.types import Census, Placement
    from djqueue.models import QueuedJob


class DatabaseInspector(Inspector):
    """Looks at the rows, held or not."""

    def __init__(
        self, calls: Calls, settings: ConnectionSettings, capabilities: Capabilities
    ) -> None:
        super().__init__(settings, capabilities)
        self._calls = calls

    @property
    def _jobs(self) -> QuerySet[QueuedJob]:
        return jobs(self._calls.alias)

    def counts(self, queue: str) -> QueueCounts:
        with self._calls.translate_errors():
            here = self._jobs.filter(queue=queue)
            waiting = here.filter(in_state(State.WAITING))
            oldest = waiting.order_by("available_at").values_list("available_at", flat=True).first()
            return QueueCounts(
                waiting.count(),
                here.filter(in_state(State.DELAYED)).count(),
                here.filter(reserved_by__isnull=False).count(),
                aware(oldest),
            )

    def queues(self) -> list[str]:
        with self._calls.translate_errors():
            return sorted({self.settings.queue, *lines(self._calls.alias)})

    def census(self, known: Iterable[str], at_most: int | None = None) -> Mapping[str, Census]:
        if at_most is None:
            return super().census(known)
        with self._calls.translate_errors():
            return census(self._calls.alias, {self.settings.queue, *known}, at_most)

    def _stuck(self, queue: str, at_most: int = 1000) -> int:
        with self._calls.translate_errors():
            stuck = self._jobs.filter(in_state(State.STUCK), queue=queue)
            return stuck.values("pk")[:at_most].count()

    def peek(
        self, queue: str, state: State, limit: int = 20, after: str | None = None
    ) -> list[StoredJob]:
        with self._calls.translate_errors():
            order = ORDER[state]
            here = self._jobs.filter(in_state(state), queue=queue).order_by(*order)
            if after is not None:
                here = behind(here, self._calls.alias, after, order)
            return describe(self._calls.alias, here[:limit])

    def find(self, ids: Sequence[str]) -> list[StoredJob]:
        with self._calls.translate_errors():
            return describe(self._calls.alias, self._jobs.filter(uuid__in=ids))

    def search(self, part: str, limit: int = 20) -> list[StoredJob]:
        """Look through all ids, without the other columns."""
        with self._calls.translate_errors():
            like = Q(uuid__startswith=short_ids.as_begin(part)) | Q(
                uuid__endswith=short_ids.as_end(part)
            )
            return describe(self._calls.alias, self._jobs.filter(like).order_by("id")[:limit])

    def change(self, change: Change, queue: str, seen: Mapping[str, str]) -> set[str]:
        with self._calls.translate_errors():
            return changing.change(self._calls.alias, change, queue, seen)

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool = False) -> int:
        with self._calls.translate_errors():
            rows = self._jobs.filter(queue=queue, uuid__in=ids)
            if not even_running:
                rows = rows.filter(Q(reserved_by__isnull=True) | in_state(State.STUCK))
            return delete_rows(rows, self._calls.alias)

    def release(self, queue: str, ids: Sequence[str]) -> int:
        """Release stuck jobs. The condition is part of the statement: a worker may have taken a job
        meanwhile.
        """
        with self._calls.translate_errors():
            return put_back(self._jobs.filter(in_state(State.STUCK), queue=queue, uuid__in=ids))

    def place(self, queue: str, ids: Sequence[str], to: Placement) -> set[str]:
        with self._calls.translate_errors():
            return changing.place(self._calls.alias, queue, ids, to)

    def make_due(self, queue: str) -> int:
        """Put delayed jobs in line at once, behind the waiting ones."""
        with self._calls.translate_errors():
            delayed = self._jobs.filter(queue=queue, line__isnull=True, reserved_by__isnull=True)
            return delayed.update(available_at=UtcNow(), line=IN_LINE)

    def clear(self, queue: str) -> int:
        """Delete in slices of ascending ids, so that no transaction grows with the queue."""
        with self._calls.translate_errors():
            removed = 0
            while True:
                waiting = self._jobs.filter(queue=queue, reserved_by__isnull=True).order_by("id")
                keys = list(waiting.values_list("id", flat=True)[:1000])
                if not keys:
                    return removed
                removed += delete_rows(
                    self._jobs.filter(id__in=keys, reserved_by__isnull=True), self._calls.alias
                )
