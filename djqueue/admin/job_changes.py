"""What operators do to stored jobs. Every write compares with what the operator saw, or with the
state that the action is for, in the statement itself: a worker may have been faster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections, transaction
from django.db.models import Case, CharField, F, OuterRef, Q, Subquery, Value, When
from django.utils.translation import gettext_lazy as _

from djqueue.admin.outcome import Kept, Named, Reason, Result
from djqueue.drivers.base import State
from djqueue.drivers.database.stored import in_state, jobs, put_back
from djqueue.drivers.now import UtcNow
from djqueue.operations.words import STATES, relative
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet

    from djqueue.models import QueuedJob

    Write = Callable[[QuerySet[QueuedJob]], int]

FINISHED = Reason(
    _("it had already finished or been deleted."),
    _("they had already finished or been deleted."),
)
RUNNING = Reason(
    _("worker %(worker)s started it %(ago)s."),
    _("workers have started them."),
    _("Wait for the end, or use “Delete even though running”."),
)
TAKEN_AGAIN = Reason(
    _("it was taken again by %(worker)s %(ago)s."),
    _("workers have taken them again."),
    _("Look at the list once more."),
)
ALIVE_AGAIN = Reason(
    _("its worker %(worker)s is alive again."),
    _("their workers are alive again."),
)
NOT_SEEN = Reason(
    _("the page did not say which attempt was meant."),
    _("the page did not say which attempts were meant."),
    _("Look at the list once more."),
)
NOT_RUNNING = Reason(
    _("it is not running (now: %(state)s)."),
    _("they are not running."),
    _("Use “Delete”."),
)
NOT_STUCK = Reason(
    _("it is not stuck (now: %(state)s)."),
    _("they are not stuck."),
)
NOT_DELAYED = Reason(
    _("it is not delayed (now: %(state)s)."),
    _("they are not delayed."),
)


class Picked(NamedTuple):
    """The rows an action is for."""

    alias: str
    keys: Sequence[int]
    seen: Mapping[int, int]
    """The reservation number that the operator's page showed, by row."""
    more: bool = False
    """Whether more rows match than one request acts on."""


def with_state(rows: QuerySet[Any]) -> QuerySet[Any]:
    """`rows` with what the screens show beside the columns.

    That is ``state`` (the text of a `State`), ``now`` (the store's clock), and ``holder``, the
    name of the worker.
    """
    from djqueue.models import Worker

    worker = Worker.objects.filter(pk=OuterRef("reserved_by")).values("name")[:1]
    state = Case(
        When(in_state(State.STUCK), then=Value(State.STUCK.value)),
        When(reserved_by__isnull=False, then=Value(State.RESERVED.value)),
        When(in_state(State.DELAYED), then=Value(State.DELAYED.value)),
        default=Value(State.WAITING.value),
        output_field=CharField(),
    )
    annotated: QuerySet[Any] = rows.annotate(now=UtcNow(), state=state, holder=Subquery(worker))
    return annotated


class Row(NamedTuple):
    """What decides about a row, read while it is locked."""

    pk: int
    label: str
    reservation: int
    line: int | None
    state: State
    holder: str
    reserved_at: datetime | None
    now: datetime

    def kept(self, reason: Reason) -> Kept:
        """The row, left as it was for that reason."""
        return Kept(
            reason,
            {
                "worker": self.holder,
                "ago": relative(self.reserved_at or self.now, self.now),
                "state": str(STATES[self.state]),
            },
        )


def delete(picked: Picked) -> Result:
    """Delete waiting, delayed and stuck jobs."""
    return _change(
        picked,
        refuse=lambda row: RUNNING if row.state is State.RESERVED else None,
        guard=Q(reserved_by__isnull=True) | in_state(State.STUCK),
        write=_delete,
    )


def force_delete(picked: Picked) -> Result:
    """Delete jobs that are running, in the very attempt that the operator saw."""

    def refuse(row: Row) -> Reason | None:
        if row.state not in (State.RESERVED, State.STUCK):
            return NOT_RUNNING
        return _unseen(picked, row)

    return _change(picked, refuse, Q(reserved_by__isnull=False), _delete)


def release(picked: Picked) -> Result:
    """Stuck jobs back to waiting, with an interruption on record."""

    def refuse(row: Row) -> Reason | None:
        if row.state is State.RESERVED:
            return _unseen(picked, row) or ALIVE_AGAIN
        if row.state is not State.STUCK:
            return NOT_STUCK
        return _unseen(picked, row)

    return _change(picked, refuse, in_state(State.STUCK), put_back)


def run_now(picked: Picked) -> Result:
    """Delayed jobs may run at once."""
    return _change(
        picked,
        refuse=lambda row: None if row.state is State.DELAYED else NOT_DELAYED,
        guard=in_state(State.DELAYED),
        write=lambda rows: rows.update(line=-F("priority"), available_at=UtcNow()),
    )


def _unseen(picked: Picked, row: Row) -> Reason | None:
    """Why this is not the attempt that the operator saw; None if it is."""
    seen = picked.seen.get(row.pk)
    if seen is None:
        return NOT_SEEN
    return None if seen == row.reservation else TAKEN_AGAIN


def _delete(rows: QuerySet[QueuedJob]) -> int:
    return rows._raw_delete(rows.db)


def _change(
    picked: Picked,
    refuse: Callable[[Row], Reason | None],
    guard: Q,
    write: Write,
) -> Result:
    """Lock the rows, decide about each, write to those that are meant, look what came of it."""
    with transaction.atomic(using=picked.alias):
        rows = _locked(picked)
        gone = [Kept(FINISHED) for key in picked.keys if key not in rows]
        kept = [row.kept(why) for row in rows.values() if (why := refuse(row)) is not None]
        meant = {key: row for key, row in rows.items() if refuse(row) is None}
        written = write(jobs(picked.alias).filter(guard, pk__in=meant)) if meant else 0
        if written < len(meant):
            # A lease went on or ended between the two statements: the clock decides, not the lock.
            after = _read(picked.alias, list(meant))
            missed = [row for row in meant.values() if _is_left(row, after.get(row.pk), write)]
            kept += [after[row.pk].kept(refuse(after[row.pk]) or NOT_STUCK) for row in missed]
            meant = {key: row for key, row in meant.items() if row not in missed}
    return Result([Named(row.pk, row.label) for row in meant.values()], gone + kept)


def _is_left(before: Row, after: Row | None, write: Write) -> bool:
    """Whether `write` has not reached a row: it is still there, or as it was."""
    if after is None:
        return False
    return write is _delete or (before.reservation, before.line) == (after.reservation, after.line)


def _locked(picked: Picked) -> dict[int, Row]:
    """The rows as they are once nobody else can write to them before we commit."""
    rows = jobs(picked.alias).filter(pk__in=picked.keys).order_by("pk")
    if connections[picked.alias].features.has_select_for_update:
        list(rows.select_for_update().values_list("pk", flat=True))
    else:
        # SQLite: the first statement has to be a write, or a worker can come in between.
        rows.order_by().update(reservation=F("reservation"))
    return _read(picked.alias, picked.keys)


def _read(alias: str, keys: Sequence[int]) -> dict[int, Row]:
    rows = with_state(jobs(alias).filter(pk__in=keys).order_by("pk"))
    columns = ("pk", "name", "uuid", "reservation", "line", "state", "holder", "reserved_at", "now")
    found = {}
    for pk, name, uuid, reservation, line, state, holder, at, now in rows.values_list(*columns):
        label, who = one_line(f"{name} {uuid}"), one_line(holder or "?")
        found[pk] = Row(pk, label, reservation, line, State(state), who, at, now)
    return found
