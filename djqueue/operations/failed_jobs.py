"""What operators see and do of failed jobs: choose, find, list, forget, and take rows for a retry.

What looks through many rows goes by ascending row number, at most `SLICE` at a time, and stops at
the newest row there was when it began: what fails meanwhile is not swept in.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import transaction
from django.db.models import Count, Q
from django.db.models.functions import Substr
from django.utils import timezone

from djqueue.compat import delete_rows
from djqueue.composition import failures
from djqueue.databases import holding
from djqueue.errors import JobNotFound
from djqueue.finish.failed import store, table
from djqueue.payload import packing
from djqueue.payload import store as payload_store
from djqueue.payload.ids import new_push_id, push_id_for
from djqueue.payload.links import LINKS_MARK
from djqueue.payload.parts import BEGINNING
from djqueue.text import short_ids as ids
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from django.db.models import QuerySet

    from djqueue.models import FailedJob

__all__ = [
    "ALL",
    "Found",
    "Selection",
    "count",
    "failed_before",
    "find",
    "fitting",
    "forget",
    "free",
    "gone",
    "let_go",
    "listed",
    "named",
    "queues",
    "resolve",
    "same",
    "slices",
    "some_ids",
    "store",
    "table",
    "take",
]

SLICE = 500
CANDIDATES = 5
"""Ids that an error names when a part of an id fits several."""


HOLD = 60.0
"""Seconds for which a taken row belongs to its holder."""


@dataclass(frozen=True)
class Selection:
    """Which failed jobs are meant: those that fit everything that is given; all, if nothing is."""

    ids: tuple[str, ...] | None = None
    """Whole uuids, as `resolve` returns them."""
    connection: str | None = None
    queue: str | None = None
    name: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    rows: tuple[int, int] | None = None
    """The first and the last row number, both included."""
    batch: str | None = None
    """The id of the batch whose members are meant."""
    group: str | None = None
    """The beginning of a fingerprint: failures of one job with one exception class at one place."""

    def condition(self) -> Q:
        """Return the selection as a condition of the ORM."""
        wanted: dict[str, Any] = {
            "uuid__in": self.ids,
            "connection": self.connection,
            "queue": self.queue,
            "name": self.name,
            "failed_at__gte": self.since,
            "failed_at__lt": self.before,
            "id__range": self.rows,
            "batch_id": self.batch,
            "fingerprint__startswith": self.group,
        }
        return Q(**{key: value for key, value in wanted.items() if value is not None})

    def described(self) -> dict[str, object]:
        """Return the filters, for the log; ids are none."""
        return {
            key: value for key, value in vars(self).items() if value is not None and key != "ids"
        }


ALL = Selection()


class Found(NamedTuple):
    """What ids stand for."""

    selection: Selection
    unknown: list[JobNotFound]
    """One for each id that no failed job has, or that fits several; they say which."""


def find(text: str) -> FailedJob:
    """Return the failed job whose id is `text`, or begins or ends with it. Raises `JobNotFound`."""
    part = ids.digits(text)
    found = fitting(part)
    if len(found) == 1:
        _refuse_row_number(part, found[0])
        return found[0]
    raise not_found("failed job", text, [str(row.uuid) for row in found])


def fitting(part: str) -> list[FailedJob]:
    """Return the failed jobs whose ids begin or end with these digits, as far as they are named."""
    if len(part) == ids.LENGTH:
        return list(table().filter(uuid=part))
    like = Q(uuid__startswith=ids.as_begin(part)) | Q(uuid__endswith=ids.as_end(part))
    return list(table().filter(like).order_by("-id")[: CANDIDATES + 1])


def _refuse_row_number(part: str, found: FailedJob) -> None:
    """Raise `JobNotFound` for a number that is the end of one job's id and the row number of
    another.
    """
    is_number = part.isdigit() and len(part) < 19 and int(part) != found.pk
    if is_number and table().filter(pk=int(part)).exists():
        raise JobNotFound(
            f'"{part}" is a part of the id {found.uuid}, and the row number of another failed job. '
            "Give more of the id that is meant, or queue_retry --range with the row number."
        )


def not_found(kind: str, text: str, candidates: Sequence[str]) -> JobNotFound:
    """Return the error for an id that no job has, or that fits `candidates`."""
    if not candidates:
        hint = " Row numbers are for queue_retry --range alone." if text.isdigit() else ""
        return JobNotFound(
            f'No {kind} has the id "{text}". An id is the uuid that dispatch() returned, or enough '
            f"of its beginning or end to be the only one.{hint}"
        )
    more = " and more" if len(candidates) > CANDIDATES else ""
    return JobNotFound(
        f'No {kind} has exactly the id "{text}", and several begin or end like it: '
        f"{', '.join(candidates[:CANDIDATES])}{more}. Give more of the one that is meant."
    )


def resolve(texts: Sequence[str]) -> Found:
    """Return the failed jobs that ids, or parts of ids, name."""
    found: dict[str, None] = {}
    unknown = []
    for text in texts:
        try:
            found[str(find(text).uuid)] = None
        except JobNotFound as error:
            unknown.append(error)
    return Found(Selection(ids=tuple(found)), unknown)


def count(selection: Selection = ALL) -> int:
    """Return the number of failed jobs that match."""
    return table().filter(selection.condition()).count()


def queues() -> set[str]:
    """Return the queues of which jobs have failed."""
    return set(table().order_by().values_list("queue", flat=True).distinct())


def some_ids(selection: Selection, at_most: int) -> list[str]:
    """Return the ids of the first failed jobs that match, oldest first."""
    rows = table().filter(selection.condition()).order_by("id")
    return [str(uuid) for uuid in rows.values_list("uuid", flat=True)[:at_most]]


def named(selection: Selection, at_most: int = 10) -> str:
    """Return which failed jobs match, as a text: each one if they are few, else a number for each
    name.
    """
    rows = table().filter(selection.condition())
    few = list(rows.order_by("id").values_list("name", "uuid", "id")[: at_most + 1])
    if len(few) <= at_most:
        return ", ".join(f"{one_line(name, 80)} {uuid} (row {row})" for name, uuid, row in few)
    counted = rows.order_by().values_list("name").annotate(number=Count("id")).order_by("-number")
    names = list(counted[:6])
    more = ", and others" if len(names) > 5 else ""
    return ", ".join(f"{number:,} of {one_line(name, 80)}" for name, number in names[:5]) + more


def listed(selection: Selection = ALL, limit: int | None = None) -> Iterator[FailedJob]:
    """Return the failed jobs that match, newest first, without their payloads and tracebacks. Each
    has the beginning of its payload as ``payload_begin``.
    """
    rows = table().filter(selection.condition()).order_by("-id")
    rows = rows.defer("payload", "exception", "history")
    rows = rows.annotate(payload_begin=Substr("payload", 1, BEGINNING))
    page = list(rows[: _page(limit)])
    while page:
        yield from page
        if limit is not None:
            limit -= len(page)
        page = list(rows.filter(id__lt=page[-1].pk)[: _page(limit)])


def _page(limit: int | None) -> int:
    return SLICE if limit is None else min(limit, SLICE)


def slices(selection: Selection) -> Iterator[list[int]]:
    """Return the row numbers of what matches, ascending, up to the newest at the time of the
    call.
    """
    rows = table().filter(selection.condition())
    newest = rows.order_by("-id").values_list("id", flat=True).first()
    last = 0
    while newest is not None and last < newest:
        page = rows.filter(id__gt=last, id__lte=newest).order_by("id")
        keys = list(page.values_list("id", flat=True)[:SLICE])
        if not keys:
            return
        yield keys
        last = keys[-1]


def forget(
    selection: Selection = ALL,
    on_progress: Callable[[int], object] = lambda done: None,
    *,
    until: float = float("inf"),
) -> int:
    """Delete the failed jobs that match, and what the payload store has for them. Return the number
    of jobs that this call deleted.

    They go in statements of at most `SLICE` rows. `on_progress` is called after each, with the
    number of rows that have been looked at. Nothing is begun after the moment `until` (monotonic).
    """
    forgotten = seen = 0
    for keys in slices(selection):
        # The condition once more: a row may have got other values since it was read. Rows
        # that another process is about to retry are left to it.
        rows = free().filter(selection.condition(), id__in=keys)
        large = _put_aside(rows)
        deleted = _delete(rows)
        if large and deleted == len(keys):  # else one of them may just have been retried
            payload_store.remove(large)
        forgotten += deleted
        seen += len(keys)
        on_progress(seen)
        if time.monotonic() > until:
            break
    return forgotten


def _delete(rows: QuerySet[FailedJob]) -> int:
    """Delete failed jobs, and what waits for a retry of them alone; how many jobs."""
    with transaction.atomic(using=store()):
        linked = rows.filter(payload__contains=LINKS_MARK).select_for_update()
        payloads = list(linked.values_list("payload", flat=True))
        deleted = delete_rows(rows)
        failures.give_up(store(), payloads)
    return deleted


def _put_aside(rows: QuerySet[FailedJob]) -> list[str]:
    """Return the ids of the jobs whose arguments are in the payload store."""
    likely = rows.filter(payload__contains=packing.STORED_MARK).values_list("uuid", "payload")
    return [str(uuid) for uuid, text in likely if packing.is_stored(text)]


def failed_before(seconds: float) -> Selection:
    """Return the selection of the jobs that failed more than `seconds` ago."""
    return Selection(before=timezone.now() - timedelta(seconds=seconds))


# -- taken -----------------------------------------------------------------------------------------


def free() -> QuerySet[FailedJob]:
    """Return the rows that are not taken."""
    return holding.free(table())


def same(rows: Sequence[FailedJob]) -> Q:
    """Return the condition for these rows. A single one, whose payload may have been changed for
    its retry, is meant as it was read: not if the job has failed again meanwhile.
    """
    as_read = {}
    if len(rows) == 1:
        as_read = {"reservation": rows[0].reservation, "failed_at": rows[0].failed_at}
    return Q(pk__in=[row.pk for row in rows], **as_read)


def take(by: str, rows: Sequence[FailedJob]) -> dict[int, str]:
    """Take those of the rows that are free: they belong to `by` for a while. Return the push id for
    each, which is that of an earlier try if there was one.
    """
    if not holding.take(table().filter(same(rows)), by, HOLD):
        return {}
    mine = holding.held(table().filter(pk__in=[row.pk for row in rows]), by)
    mine.filter(push_id="").update(push_id=new_push_id())
    return {key: push_id_for(uuid, base) for key, uuid, base in mine.values_list(*_NAMED)}


_NAMED = ("pk", "uuid", "push_id")


def gone(by: str, keys: Sequence[int]) -> int:
    """Delete rows that still belong to `by`, and return their number. A row whose job has failed
    again since it was taken no longer belongs to it.
    """
    return holding.delete(table().filter(pk__in=keys), by) if keys else 0


def let_go(by: str, keys: Iterable[int]) -> None:
    """Free the rows that still belong to `by`."""
    holding.release(table().filter(pk__in=list(keys)), by)
