"""Jobs of stores other than SQL, as the rows of the jobs list.

A store is read page by page, in the order in which its jobs run. What it cannot list is said in its
own words, with the counts that it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext

from djqueue.admin.base import LightChangeList
from djqueue.admin.lists import paginator
from djqueue.admin.lists.paginator import CappedPaginator
from djqueue.admin.lists.search import Wanted
from djqueue.admin.lists.selection import key_of, stored_key
from djqueue.databases.now import aware
from djqueue.dispatch.connections import queues
from djqueue.drivers.base import State, StoredJob
from djqueue.errors import QueueError
from djqueue.operations.selection import EVERY_STATE, Listed, matching
from djqueue.text import short_ids as ids
from djqueue.text.masking import masked_text
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from django.http import HttpRequest

    from djqueue.drivers.base import Inspector
    from djqueue.models import QueuedJob

__all__ = [
    "StoreChangeList",
    "StorePaginator",
    "StoreRows",
    "find",
    "job_of",
    "queue_names",
    "row_of",
]


def row_of(job: StoredJob) -> QueuedJob:
    """Return a stored job as a row that is in no table, with the columns of `states.with_state`."""
    from djqueue.models import QueuedJob

    times: dict[str, Any] = {
        "created_at": job.created_at,
        "available_at": job.available_at,
        "reserved_at": job.reserved_at,
        "reserved_until": job.reserved_until,
    }
    row: Any = QueuedJob(
        queue=job.queue,
        payload=job.payload,
        attempts=job.attempts,
        interruptions=job.interruptions,
        priority=job.priority,
        name=job.name,
        history=job.history,
        **times,
    )
    row.pk, row.uuid = key_of(job.key or job.id), one_line(job.id)
    row.state, row.now, row.holder = job.state.value, job.read_at or timezone.now(), job.worker
    row.seen = job.reservation
    found: QueuedJob = row
    return found


def job_of(row: Any) -> StoredJob:
    """Return a job, given as a row with the columns of `states.with_state`, as drivers do."""
    return StoredJob(
        id=str(row.uuid),
        queue=row.queue,
        name=row.name,
        payload=row.payload,
        state=State(row.state),
        attempts=row.attempts,
        interruptions=row.interruptions,
        priority=row.priority,
        created_at=aware(row.created_at),
        available_at=aware(row.available_at),
        reserved_at=aware(row.reserved_at),
        reserved_until=aware(row.reserved_until),
        worker=row.holder,
        history=row.history or "",
        read_at=aware(row.now),
    )


def find(connection: str, keys: Sequence[Any]) -> list[QueuedJob]:
    """Return the rows of those jobs that exist."""
    names = [name for key in keys if (name := stored_key(str(key))) is not None]
    return [row_of(job) for job in queues[connection].inspector.find(names)] if names else []


def queue_names(connection: str) -> list[str]:
    """Return the queues to filter by; the configured one if the store does not answer."""
    asked = queues[connection]
    try:
        return asked.inspector.queues()
    except QueueError:
        return [asked.settings.queue]


@dataclass
class StoreRows:
    """The jobs of a connection that the filters and the search leave. Read once a page."""

    connection: str
    queue: str | None
    states: Sequence[State]
    wanted: Wanted
    notes: list[str] = field(default_factory=list)
    """Why it is not the whole list, for people."""

    def filter(self, **conditions: Any) -> StoreRows:
        """Return itself: Django narrows a queryset to the selected rows, which the form names
        anyway.
        """
        return self

    @property
    def can_list(self) -> bool:
        """Return whether the store lists its jobs."""
        return queues[self.connection].inspector.capabilities.why_not("peek") is None

    def page(self, start: int, stop: int) -> tuple[list[QueuedJob], int]:
        """Return rows from `start` to `stop`, and the number of all rows as far as it is known."""
        try:
            found = list(islice(self._jobs(), start, stop + 1))
            rows = [row_of(job) for job in found[: stop - start]]
            return rows, max(self._total(), start + len(found))
        except QueueError as error:
            self.notes.append(masked_text(str(error)))
            return [], 0

    def _jobs(self) -> Iterator[StoredJob]:
        inspector = queues[self.connection].inspector
        if self.wanted.error:
            self.notes.append(self.wanted.error)
            return iter(())
        if self.wanted.ids:
            return self._fitting(self._by_id(inspector))
        why_not = inspector.capabilities.why_not("peek")
        if why_not is not None:
            self.notes += [one_line(why_not), self._counts(inspector)]
            heads = (job for queue in self._queues(inspector) for job in inspector.heads(queue))
            return self._fitting(heads)
        listed: Iterable[Listed] = matching(self.connection, self.queue, self.states)
        return self._fitting(each.job for each in islice(listed, paginator.CAP))

    def _by_id(self, inspector: Inspector) -> Iterator[StoredJob]:
        for part in self.wanted.ids:
            whole = len(part) == ids.LENGTH
            yield from inspector.find([ids.as_begin(part)]) if whole else inspector.search(part)

    def _fitting(self, jobs: Iterable[StoredJob]) -> Iterator[StoredJob]:
        return (
            job
            for job in jobs
            if job.state in self.states
            and (self.queue is None or job.queue == self.queue)
            and self.wanted.fits(job)
        )

    def _queues(self, inspector: Inspector) -> list[str]:
        return inspector.queues() if self.queue is None else [self.queue]

    def _total(self) -> int:
        """Return the number of jobs by the store's own count; 0 if it has no such count."""
        if self.states != EVERY_STATE or not self.wanted.everything:
            return 0
        inspector = queues[self.connection].inspector
        if inspector.capabilities.why_not("peek") is not None:
            return 0
        counts = [inspector.counts(queue)[:3] for queue in self._queues(inspector)]
        return sum(number or 0 for some in counts for number in some)

    def _counts(self, inspector: Inspector) -> str:
        template = gettext(
            "%(queue)s: %(waiting)s waiting, %(delayed)s delayed, %(reserved)s running"
        )
        texts = []
        for queue in self._queues(inspector):
            counts = inspector.counts(queue)
            values = dict(zip(("waiting", "delayed", "reserved"), counts[:3], strict=True))
            known = {name: "?" if value is None else value for name, value in values.items()}
            texts.append(template % {"queue": one_line(queue), **known})
        return "; ".join(texts)


class StorePaginator(CappedPaginator):
    """Pages of a store: the number of jobs is what the list has found out."""

    def __init__(self, rows: StoreRows, per_page: int, total: int) -> None:
        Paginator.__init__(self, [], per_page)
        self._total = total

    @cached_property
    def _seen(self) -> int:
        return self._total


class StoreChangeList(LightChangeList):
    """The jobs list of a store: the filters' parameters choose the rows, and no column sorts."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        """Return the jobs that the filters and the search leave."""
        found = self.get_filters(request)
        self.filter_specs, self.has_filters, _lookups, _duplicates, self.has_active_filters = found
        self.clear_all_filters_qs = self.get_query_string(remove=self.get_filters_params())
        admin: Any = self.model_admin  # that of the jobs
        return admin.store_rows(request, self.query)

    def get_results(self, request: HttpRequest) -> None:
        """Set the results of one page."""
        rows: Any = self.queryset
        self.notes = rows.notes
        start = max(self.page_num - 1, 0) * self.list_per_page
        self.result_list, total = rows.page(start, start + self.list_per_page)
        # Django offers to select all rows where it knows of more than the page has: these change
        # too fast for that.
        self.result_count = len(self.result_list)
        self.show_full_result_count, self.full_result_count = False, None
        self.show_admin_actions, self.can_show_all = True, False
        self.multi_page = total > self.list_per_page
        self.paginator = StorePaginator(rows, self.list_per_page, total)
