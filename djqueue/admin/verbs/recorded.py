"""From the failed jobs that a form selects to what `djqueue.operations` does to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from django.db import connections, transaction
from django.db.models import F
from django.utils import timezone

from djqueue.admin import audit
from djqueue.admin.verbs.stored import copied
from djqueue.errors import QueueUnavailable
from djqueue.operations import failed_jobs, results
from djqueue.operations.results import Left, Reason, Result, Target
from djqueue.operations.retrying import AS_THEY_ARE, How
from djqueue.operations.retrying import retry as move_back
from djqueue.operations.verbs.running import Found
from djqueue.operations.words import relative

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.admin.lists.selection import Selection
    from djqueue.models import FailedJob

__all__ = ["copy", "forget", "retry"]

_BY = {"retry": results.RETRIED, "edit": results.RETRIED, "forget": results.FORGOTTEN}


def retry(selection: Selection) -> Result:
    """Move jobs back to their queues, in steps that commit by themselves. If two operators retry
    the same job, only one of them moves it.
    """
    rows = _named(_table(selection).filter(pk__in=selection.keys).order_by("pk"))
    moved: set[int] = set()
    left = _retry(_selection(rows), moved.update, _how(selection)) if rows else _Rest()
    there = _there(selection, rows)
    why = results.BEING_RETRIED if left.stopped is None else left.stopped
    kept = [*left.kept, *[Left(why)] * (len(there - moved) - len(left.kept))]
    gone = [key for key in _numbers(selection) if key not in moved and key not in there]
    changed = [_target(row) for pk, row in rows.items() if pk in moved]
    return Result(changed, _missing(gone, selection.alias) + kept, left.stopped)


def _how(selection: Selection) -> How:
    pace, edited = selection.values.get("pace"), selection.values.get("edited")
    if edited is not None:
        keys = _numbers(selection)
        seen = dict.fromkeys(keys, selection.values["seen"])
        return How(payloads=dict.fromkeys(keys, edited), seen=seen)
    if pace is None:
        return AS_THEY_ARE
    every = pace if pace >= 0 else -pace / max(selection.total, 1)
    return How(every, first=selection.before)


def copy(selection: Selection) -> Result:
    """Dispatch a copy of each job. The failed ones stay as they are."""
    rows = _table(selection).filter(pk__in=selection.keys).order_by("pk")
    there = {row.pk: row for row in rows.defer("exception", "history")}
    gone = [key for key in _numbers(selection) if key not in there]
    jobs = [
        (_target(row), Found(str(row.uuid), row.name, row.connection, row.queue, row.payload, True))
        for row in there.values()
    ]
    return Result((), _missing(gone, selection.alias)) + copied(jobs)


def forget(selection: Selection) -> Result:
    """Delete the record of the failure, and with it the way to retry it."""
    with transaction.atomic(using=selection.alias):
        rows = _locked(selection)
        if rows:
            failed_jobs.forget(_selection(rows))
        there = _there(selection, rows)
    changed = [_target(row) for pk, row in rows.items() if pk not in there]
    gone = [key for key in _numbers(selection) if key not in rows]
    kept = [Left(results.BEING_RETRIED)] * len(there)
    return Result(changed, _missing(gone, selection.alias) + kept)


def _numbers(selection: Selection) -> list[int]:
    return [key for key in selection.keys if isinstance(key, int)]


def _target(row: FailedJob) -> Target:
    return Target(row.connection, row.queue, str(row.uuid), row.name, row.pk)


def _selection(rows: Mapping[int, FailedJob]) -> failed_jobs.Selection:
    return failed_jobs.Selection(ids=tuple(str(row.uuid) for row in rows.values()))


def _there(selection: Selection, rows: Mapping[int, FailedJob]) -> set[int]:
    """Return the rows that still exist."""
    return set(_table(selection).filter(pk__in=list(rows)).values_list("pk", flat=True))


class _Rest(NamedTuple):
    """What an act has left where it was."""

    kept: Sequence[Left] = ()
    stopped: Reason | None = None
    """Why it went no further."""


def _retry(
    selection: failed_jobs.Selection, moved: Callable[[Iterable[int]], object], how: How
) -> _Rest:
    try:
        done = move_back(selection, on_moved=moved, how=how)
    except QueueUnavailable as error:
        # What had been moved before stays moved, and is logged. The message gives the
        # reason alone, not the number of this slice.
        cause = error.__cause__ if isinstance(error.__cause__, QueueUnavailable) else error
        return _Rest(stopped=Reason(str(cause), str(cause)))
    return _Rest(
        [Left(Reason(text, text)) for text, count in done.refused.items() for _each in range(count)]
    )


def _table(selection: Selection) -> QuerySet[FailedJob]:
    return failed_jobs.table().using(selection.alias)


def _locked(selection: Selection) -> dict[int, FailedJob]:
    rows = _table(selection).filter(pk__in=selection.keys).order_by("pk")
    if connections[selection.alias].features.has_select_for_update:
        list(rows.select_for_update().values_list("pk", flat=True))
    else:
        # SQLite: the first statement has to be a write, or another writer can come in between.
        rows.order_by().update(attempts=F("attempts"))
    return _named(rows)


def _named(rows: QuerySet[FailedJob]) -> dict[int, FailedJob]:
    return {row.pk: row for row in rows.only("pk", "connection", "queue", "name", "uuid")}


def _missing(keys: Sequence[int], alias: str) -> list[Left]:
    if len(keys) == 1:
        act = audit.last_act(failed_jobs.table().model, keys[0], alias)
        if act is not None and act.verb in _BY:
            ago = relative(act.at, timezone.now())
            return [Left(_BY[act.verb], {"user": act.user, "ago": ago})]
    return [Left(results.GONE) for _key in keys]
