"""What operators do to failed jobs: retry them, or forget them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from django.db import connections, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from djqueue.admin import audit
from djqueue.admin.outcome import Kept, Named, Reason, Result
from djqueue.errors import QueueUnavailable
from djqueue.operations import failed_jobs
from djqueue.operations.retrying import retry as move_back
from djqueue.operations.words import relative
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.admin.job_changes import Picked
    from djqueue.models import FailedJob

RETRIED = Reason(_("it was already retried by %(user)s %(ago)s."), "")
FORGOTTEN = Reason(_("it was already forgotten by %(user)s %(ago)s."), "")
GONE = Reason(
    _("it was already retried or forgotten."),
    _("they were already retried or forgotten."),
)
BEING_RETRIED = Reason(
    _("another operator is retrying it now."),
    _("another operator is retrying them now."),
)
_BY = {"retry": RETRIED, "forget": FORGOTTEN}


def retry(picked: Picked) -> Result:
    """Back to their queues, in steps that commit by themselves. Of two operators who retry the same
    job, one does.
    """
    rows = _named(_table(picked).filter(pk__in=picked.keys).order_by("pk"))
    moved: set[int] = set()
    left = _retry(_selection(rows), moved.update) if rows else _Left()
    there = _there(picked, rows)
    why = BEING_RETRIED if left.stopped is None else left.stopped
    kept = [*left.kept, *[Kept(why)] * (len(there - moved) - len(left.kept))]
    gone = [key for key in picked.keys if key not in moved and key not in there]
    changed = [Named(pk, one_line(row)) for pk, row in rows.items() if pk in moved]
    return Result(changed, _missing(gone, picked.alias) + kept, left.stopped)


def forget(picked: Picked) -> Result:
    """Delete the record of the failure, and with it the way to retry it."""
    with transaction.atomic(using=picked.alias):
        rows = _locked(picked)
        if rows:
            failed_jobs.forget(_selection(rows))
        there = _there(picked, rows)
    changed = [Named(pk, one_line(row)) for pk, row in rows.items() if pk not in there]
    gone = [key for key in picked.keys if key not in rows]
    kept = [Kept(BEING_RETRIED)] * len(there)
    return Result(changed, _missing(gone, picked.alias) + kept)


def _selection(rows: Mapping[int, FailedJob]) -> failed_jobs.Selection:
    return failed_jobs.Selection(ids=tuple(str(row.uuid) for row in rows.values()))


def _there(picked: Picked, rows: Mapping[int, FailedJob]) -> set[int]:
    """Those of the rows that are still there."""
    return set(_table(picked).filter(pk__in=list(rows)).values_list("pk", flat=True))


class _Left(NamedTuple):
    """What an act has left where it was."""

    kept: Sequence[Kept] = ()
    stopped: Reason | None = None
    """Why it went no further."""


def _retry(selection: failed_jobs.Selection, moved: Callable[[Iterable[int]], object]) -> _Left:
    try:
        done = move_back(selection, on_moved=moved)
    except QueueUnavailable as error:
        # What had been moved before stays moved, and is logged. How many those were of this slice
        # is no news to anybody: the reason alone is.
        cause = error.__cause__ if isinstance(error.__cause__, QueueUnavailable) else error
        return _Left(stopped=Reason(str(cause), str(cause)))
    return _Left(
        [Kept(Reason(text, text)) for text, count in done.refused.items() for _each in range(count)]
    )


def _table(picked: Picked) -> QuerySet[FailedJob]:
    return failed_jobs.table().using(picked.alias)


def _locked(picked: Picked) -> dict[int, FailedJob]:
    rows = _table(picked).filter(pk__in=picked.keys).order_by("pk")
    if connections[picked.alias].features.has_select_for_update:
        list(rows.select_for_update().values_list("pk", flat=True))
    else:
        # SQLite: the first statement has to be a write, or somebody can come in between.
        rows.order_by().update(attempts=F("attempts"))
    return _named(rows)


def _named(rows: QuerySet[FailedJob]) -> dict[int, FailedJob]:
    return {row.pk: row for row in rows.only("pk", "name", "uuid")}


def _missing(keys: Sequence[int], alias: str) -> list[Kept]:
    if len(keys) == 1:
        act = audit.last_act(failed_jobs.table().model, keys[0], alias)
        if act is not None and act.verb in _BY:
            ago = relative(act.at, timezone.now())
            return [Kept(_BY[act.verb], {"user": act.user, "ago": ago})]
    return [Kept(GONE) for _key in keys]
