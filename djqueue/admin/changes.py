"""What the screens let operators do: from the rows that a form selects to the result of an act."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from django.db import connections, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from djqueue.admin import audit, stores
from djqueue.admin.lists.selection import key_of, stored_key
from djqueue.dispatch.connections import queues
from djqueue.drivers.base import Change
from djqueue.drivers.database.rows import jobs
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.operations import changes as operations
from djqueue.operations import failed_jobs, results
from djqueue.operations.results import Left, Reason, Result, Target
from djqueue.operations.retrying import retry as move_back
from djqueue.operations.words import relative

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.admin.lists.selection import Key, Selection
    from djqueue.compat import LazyText
    from djqueue.models import FailedJob

HINTS: Mapping[Reason, LazyText] = {
    results.RUNNING: _("Wait for the end, or use “Delete even though running”."),
    results.TAKEN_AGAIN: _("Look at the list once more."),
    results.NOT_SEEN: _("Look at the list once more."),
    results.NOT_RUNNING: _("Use “Delete”."),
}
"""What to do about a job that was left, for some reasons."""

NO_CONNECTION = Reason(
    _("no connection keeps its jobs in that database any more."),
    _("no connection keeps its jobs in that database any more."),
)


def changer(change: Change) -> Callable[[Selection], Result]:
    """Return a function that applies `change` to the jobs that a form selects."""

    def apply(selection: Selection) -> Result:
        try:
            targets = _targets(selection)
        except QueueError as error:
            reason = Reason(str(error), str(error))
            return Result((), [Left(reason)] * len(selection.keys), reason)
        gone = [Left(results.FINISHED) for key in selection.keys if key not in targets]
        if targets and selection.connection is None and not _connection(selection.alias):
            return Result((), [*gone, *(Left(NO_CONNECTION) for _key in targets)])
        return Result((), gone) + operations.change(change, list(targets.values()))

    return apply


def _targets(selection: Selection) -> dict[Key, Target]:
    """Return the selected jobs that still exist."""
    if selection.connection is not None:
        return _stored(selection, selection.connection)
    connection = _connection(selection.alias)
    rows = jobs(selection.alias).filter(pk__in=selection.keys).order_by("pk")
    return {
        pk: Target(connection, queue, str(uuid), name, pk, selection.seen.get(pk))
        for pk, queue, uuid, name in rows.values_list("pk", "queue", "uuid", "name")
    }


def _stored(selection: Selection, connection: str) -> dict[Key, Target]:
    names = [name for key in selection.keys if (name := stored_key(str(key))) is not None]
    found: dict[Key, Target] = {}
    for job in queues[connection].inspector.find(names):
        name = job.key or job.id
        seen = selection.seen.get(key_of(name)) or None  # "" of a job that no worker held
        found[key_of(name)] = Target(connection, job.queue, name, job.name, None, seen)
    return found


def _connection(alias: str) -> str:
    """Return a connection whose jobs are in that database; an empty text if there is none."""
    return next(iter(stores.with_jobs().get(alias, ())), "")


# -- failed jobs -----------------------------------------------------------------------------------

_BY = {"retry": results.RETRIED, "forget": results.FORGOTTEN}


def retry(selection: Selection) -> Result:
    """Move jobs back to their queues, in steps that commit by themselves. If two operators retry
    the same job, only one of them moves it.
    """
    rows = _named(_table(selection).filter(pk__in=selection.keys).order_by("pk"))
    moved: set[int] = set()
    left = _retry(_selection(rows), moved.update) if rows else _Rest()
    there = _there(selection, rows)
    why = results.BEING_RETRIED if left.stopped is None else left.stopped
    kept = [*left.kept, *[Left(why)] * (len(there - moved) - len(left.kept))]
    gone = [key for key in _numbers(selection) if key not in moved and key not in there]
    changed = [_target(row) for pk, row in rows.items() if pk in moved]
    return Result(changed, _missing(gone, selection.alias) + kept, left.stopped)


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


def _retry(selection: failed_jobs.Selection, moved: Callable[[Iterable[int]], object]) -> _Rest:
    try:
        done = move_back(selection, on_moved=moved)
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
