"""The row of a batch: how members are counted in and out, and the jobs that its state calls for.

Everything is a part of an open transaction, which is that of the members' ends where these are
counted. An end is counted once since it is stored once. What a batch has called for is kept in
columns, so each job is called for once in the life of a batch.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections
from django.db.models import F, Q

from djqueue.composition.chains import steps
from djqueue.composition.chains.steps import ON_FAILURE, Push
from djqueue.composition.ended import Ended, How, Turn
from djqueue.databases import sql as statements
from djqueue.databases.now import UtcNow
from djqueue.payload.ids import new_id
from djqueue.payload.links import Links, read_links, with_step
from djqueue.payload.parts import with_id
from djqueue.results import rows as results

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.drivers.base import OutgoingJob
    from djqueue.models import JobBatch

ON_SUCCESS, ON_FINISH, ON_PROGRESS, ON_EACH_FAILURE = 1, 2, 3, 4
"""The positions of a batch's jobs among the rows that wait; `ON_FAILURE` is that of chains."""
COPIED = ON_PROGRESS, ON_EACH_FAILURE
"""Those of the jobs that run several times, as copies with other ids."""
OPEN_FOR = 3600.0
"""Seconds after its last slice for which a batch stays open for its dispatcher."""
PROGRESS_EVERY = 1.0
"""Seconds between two jobs of ``on_progress``."""
GONE = "its dispatcher is gone"
THROWN_AWAY = "its jobs are thrown away"


class Counted(NamedTuple):
    """What follows from a change of a batch."""

    pushed: list[Push]
    """The jobs to push."""
    ended: Sequence[Ended] = ()
    """Its own end, where it is a step of a chain."""
    more: bool = False
    """Members wait for their turn, and may go now."""


class Ends(NamedTuple):
    """Ends of members of one batch."""

    batch: str
    settled: int
    failed: Sequence[str] = ()
    """The ids of those that have failed; they are among the settled ones."""


def grow(
    alias: str, batch: str, count: int, *, waits: bool = False, stays_open: bool = False
) -> bool:
    """Count in new members, which wait for the turn of their batch if it `waits` for it itself.
    Return False, and count nothing, if it is not so, or the batch is cancelled or finished.
    `stays_open`: its dispatcher has more; do as `keep_open`.
    """
    still = rows(alias).filter(Q(turn=Turn.WAITS) if waits else ~Q(turn=Turn.WAITS))
    still = still.filter(pk=batch, cancelled_at=None).exclude(_over())
    more = {"total_jobs": F("total_jobs") + count, "pending_jobs": F("pending_jobs") + count}
    if stays_open:
        more["open_until"] = UtcNow() + timedelta(seconds=OPEN_FOR)
    return bool(still.update(**more))


def lock(alias: str, batch: str) -> None:
    """Lock the row of a batch for the rest of the transaction, by a write: on SQLite one that reads
    first fails when another connection writes in between.
    """
    rows(alias).filter(pk=batch).update(depth=F("depth"))


def lock_all(alias: str, batch: str) -> None:
    """Let the transaction begin with a write where rows have no locks of their own."""
    if not connections[alias].features.has_select_for_update:
        lock(alias, batch)


def keep_open(alias: str, batch: str) -> None:
    """Put off the time after which an open batch has no dispatcher."""
    rows(alias).filter(pk=batch).update(open_until=UtcNow() + timedelta(seconds=OPEN_FOR))


def keep_staged_open(alias: str, batch: str) -> None:
    """Do so for a batch that is a step of a chain, the other batches of the chain, and those that
    the chain is inside of: as far as they are open.
    """
    inside: str | None = batch
    while inside is not None:
        found = rows(alias).filter(pk=inside).values_list("chain", "outer").first()
        chain, outer = found or (None, None)
        staged = Q(pk=inside) if chain is None else Q(pk=inside) | Q(chain=chain)
        still = rows(alias).filter(staged, open_until__isnull=False)
        still.update(open_until=UtcNow() + timedelta(seconds=OPEN_FOR))
        inside = outer


def close(alias: str, batch: str) -> bool:
    """All members are in. Return whether the batch waited for more."""
    waiting = rows(alias).filter(pk=batch, open_until__isnull=False)
    return bool(waiting.update(open_until=None))


def cancel(alias: str, batch: str, reason: str = "") -> bool:
    """Cancel a batch that is neither cancelled nor finished; whether that was so. Its members that
    wait are removed afterwards: see `djqueue.composition.batches.upkeep`.
    """
    running = rows(alias).filter(pk=batch, cancelled_at=None).exclude(_over())
    return bool(running.update(cancelled_at=UtcNow(), upkeep_at=UtcNow(), reason=reason[:255]))


def reopen(alias: str, batch: str, members: int = 1) -> None:
    """Failed members are retried. A batch that has failed as a step of a chain has its turn again,
    and a batch that has counted that chain waits for it again.
    """
    here = rows(alias).filter(pk=batch)
    here.update(pending_jobs=F("pending_jobs") + members, failed_jobs=F("failed_jobs") - members)
    text = here.filter(turn=Turn.FAILED).values_list("links", flat=True).first()
    if text is not None:
        here.update(turn=Turn.RUNS)
        links = read_links(json.loads(text))
        steps.restore(alias, [links.chain])
        if links.batch:
            reopen(alias, links.batch)


def depths(alias: str, batches: Iterable[str]) -> dict[str, int]:
    """Return how deep batches are, by their ids."""
    return dict(rows(alias).filter(pk__in=list(batches)).values_list("pk", "depth"))


def count(alias: str, ends: Ends) -> Counted:
    """Count ends of members, and return what follows from that."""
    batch, settled, failed = ends
    state = _subtract(alias, batch, settled, len(failed))
    if state is None:
        return Counted([])
    pushed = _failures(alias, batch, state, failed) if failed else []
    waits = state.turn == Turn.WAITS and state.cancelled_at is None
    if state.pending == 0 and state.open_until is None and not waits:
        pushed += _finish(alias, batch, state)
        return Counted(pushed, _as_step(alias, batch) if state.turn == Turn.RUNS else ())
    if settled and state.wants("on_progress") and _may_tell_progress(alias, batch):
        pushed += _copy(alias, batch, ON_PROGRESS)
    return Counted(pushed)


class _State(NamedTuple):
    """What the row of a batch says about what follows."""

    pending: int
    open_until: object
    cancelled_at: object
    """None, or as the database gives a time."""
    turn: str
    options: str

    def wants(self, name: str) -> bool:
        """Return whether the batch was given this."""
        from djqueue.models import JobBatch

        return bool(JobBatch(stored_options=self.options).wishes().get(name))


_STATE = "pending_jobs, open_until, cancelled_at, turn, options"
"""Its columns, in order."""


def _subtract(alias: str, batch: str, settled: int, failed: int) -> _State | None:
    """Count members out. Return the state after that; None if there is no such batch. By hand: each
    end of members comes here.
    """
    connection = connections[alias]
    returns = connection.vendor != "mysql"
    found: Sequence[Any] = ()
    if settled:
        # Never below 0: no database takes that, and the job would run again and again.
        sql = (
            "UPDATE job_batches SET pending_jobs = CASE WHEN pending_jobs < %s THEN 0"
            " ELSE pending_jobs - %s END, failed_jobs = failed_jobs + %s WHERE id = %s"
        )
        values = [settled, settled, failed, batch]
        if returns:
            found = statements.rows(connection, f"{sql} RETURNING {_STATE}", values)
        else:
            statements.run(connection, sql, values)
    if not (settled and returns):
        sql = f"SELECT {_STATE} FROM job_batches WHERE id = %s"
        found = statements.rows(connection, sql, [batch])
    return _State(*found[0]) if found else None


def _as_step(alias: str, batch: str) -> list[Ended]:
    """Return the end of a batch that has finished, as a step of a chain."""
    row = rows(alias).get(pk=batch)
    how = How.DONE if not row.cancelled else How.FAILED if row.failed_jobs else How.GONE
    turn = Turn.FAILED if how is How.FAILED and retryable(alias, [batch]) else Turn.OVER
    rows(alias).filter(pk=batch).update(turn=turn)
    links, for_good = read_links(json.loads(row.links)), turn == Turn.OVER
    return [Ended(links, how, batch, for_good=for_good)]


def retryable(alias: str, batches: Collection[str]) -> set[str]:
    """Return those of `batches` of which a failed member is left to be retried, or one of a batch
    inside of them.
    """
    from djqueue.models import FailedJob

    jobs = FailedJob.objects.using(alias).filter(batch_id__in=batches).order_by()
    inner = rows(alias).filter(turn=Turn.FAILED, outer__in=batches)
    found = {*jobs.values_list("batch_id", flat=True), *inner.values_list("outer", flat=True)}
    return {batch for batch in found if batch is not None}


def _failures(alias: str, batch: str, state: _State, failed: Sequence[str]) -> list[Push]:
    pushed: list[Push] = []
    if rows(alias).filter(pk=batch, failed_at=None).update(failed_at=UtcNow()):
        if not state.wants("allow_failures"):
            cancel(alias, batch, "a member failed")
        pushed += _take(alias, batch, ON_FAILURE)
    if state.wants("on_each_failure"):
        for id in failed:
            pushed += _copy(alias, batch, ON_EACH_FAILURE, {"name": "", "value": id})
    return pushed


def _finish(alias: str, batch: str, state: _State) -> list[Push]:
    """Nothing is pending: the first time the batch finishes, and at each time it may succeed."""
    here = rows(alias).filter(pk=batch)
    pushed: list[Push] = []
    if here.filter(finished_at=None).update(finished_at=UtcNow(), upkeep_at=UtcNow()):
        if state.wants("on_progress"):
            pushed += _copy(alias, batch, ON_PROGRESS)
        pushed += _take(alias, batch, ON_FINISH)
    done = here.filter(failed_jobs=0, cancelled_at=None, succeeded_at=None)
    if done.update(succeeded_at=UtcNow()):
        pushed += _take(alias, batch, ON_SUCCESS)
    return pushed


def _may_tell_progress(alias: str, batch: str) -> bool:
    due = Q(progress_at=None) | Q(progress_at__lte=UtcNow() - timedelta(seconds=PROGRESS_EVERY))
    return bool(rows(alias).filter(due, pk=batch).update(progress_at=UtcNow()))


def _take(alias: str, batch: str, position: int) -> list[Push]:
    """The job that a batch has at a position, once."""
    pushed = steps.take_at(alias, batch, position)
    return [_bound(push, batch) for push in pushed]


def _copy(
    alias: str, batch: str, position: int, previous: dict[str, Any] | None = None
) -> list[Push]:
    """A copy of that job, under an id of its own."""
    copies = [
        _bound((connection, _renamed(job)), batch, previous)
        for connection, job in steps.look_at(alias, batch, position)
    ]
    results.write_kept(alias, copies)
    return copies


def _renamed(job: OutgoingJob) -> OutgoingJob:
    id = new_id()
    return job._replace(id=id, payload=with_id(job.payload, id))


def _bound(push: Push, batch: str, previous: dict[str, Any] | None = None) -> Push:
    connection, job = push
    links = Links(previous=previous, follows=batch, once=True)
    return connection, job._replace(payload=with_step(job.payload, links))


def _over() -> Q:
    return Q(finished_at__isnull=False, pending_jobs=0)


def are_pending(alias: str) -> bool:
    """Return whether members of any batch are pending."""
    return rows(alias).filter(pending_jobs__gt=0).exists()


def rows(alias: str) -> QuerySet[JobBatch]:
    """All batches."""
    from djqueue.models import JobBatch

    return JobBatch.objects.using(alias)
