"""Retrying failed jobs: each is moved from the store of failed jobs back to its queue.

A job keeps its id and its arguments; its attempts are counted from 0, and what earlier attempts
left behind stays behind. Its limits are those of the code as it is now, but for what ``using()``
had set: who corrects `tries` or `timeout` and retries means the new ones. A ``retry_until`` is
counted from the retry.

Where the jobs are kept in the database of the failed jobs, a retry is one transaction: it happens
as a whole or not at all. For any other store the rows are *taken* for a while, the jobs pushed, and
the rows of what the store has are deleted; the others are let go. Each step commits by itself, and
each is conditional on the row being ours, so of two operators who retry the same job one does, and
a job that is on its way cannot be forgotten. A process that dies between the push and the deletion
leaves the row of a job that runs; to retry it once more is the same push again, not another one. No
job is ever lost.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from django.db import transaction

from djqueue.compat import delete_rows
from djqueue.composition import failures
from djqueue.databases.holding import new_holder
from djqueue.dispatch import controls
from djqueue.dispatch.connections import queues
from djqueue.dispatch.large import seconds_until_check
from djqueue.dispatch.outbox.outbox import Written
from djqueue.dispatch.outbox.pushing import Pushed, push
from djqueue.dispatch.unique.keys import KeysTaken, keeps_keys_in_sql, push_all, why_kept_out
from djqueue.dispatch.unique.pushing import take_keys
from djqueue.drivers.base import OutgoingJob
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.operations import failed_jobs
from djqueue.operations.verbs.edited_rows import EditedRows
from djqueue.operations.verbs.retried_job import RefusedError, as_pushed, outgoing
from djqueue.payload import store as payload_store
from djqueue.payload.links import links_of, needs_guard
from djqueue.payload.packing import is_stored
from djqueue.results import rows as result_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from djqueue.drivers.base import Driver
    from djqueue.models import FailedJob

__all__ = ["How", "Retried", "RetryStopped", "as_read", "refusal", "retry"]


class Retried(NamedTuple):
    """What `retry` did."""

    moved: int
    """Jobs that are in their queues again."""
    gone: int
    """Jobs that another operator has retried or deleted."""
    refused: dict[str, int]
    """Reasons why jobs were left where they are, and how many each."""


class RetryStopped(QueueUnavailable):
    """A store did not take the jobs. The text says how many were moved before."""

    def __init__(self, cause: QueueUnavailable, so_far: Retried) -> None:
        moved = f"{so_far.moved:,} {'job was' if so_far.moved == 1 else 'jobs were'} retried"
        super().__init__(
            f"{cause} {moved} before; the others are as they were.", ambiguous=cause.ambiguous
        )
        self.so_far = so_far


@dataclass(frozen=True)
class How:
    """How failed jobs are retried. As they are and at once, if nothing is given."""

    pace: float = 0.0
    """Seconds between the times at which two of them become due."""
    payloads: Mapping[int, str] = field(default_factory=dict)
    """Other payloads for some, by the number of their row, as `verbs.editing.edited` makes them."""
    seen: Mapping[int, str] = field(default_factory=dict)
    """What `as_read` said of some rows: one that has failed again since then is left alone."""
    first: int = 0
    """How many of the same spread were retried before."""
    connection: str | None = None
    """Where they go; None: each to the connection that it failed on."""
    queue: str | None = None
    """The queue that they go to; None: each to its own."""


AS_THEY_ARE = How()
FAILED_AGAIN = "it has failed again since the page was made. Look at it again."


def as_read(row: FailedJob) -> str:
    """Return what tells a row from that of a later failure of the same job."""
    parts = f"{row.reservation} {row.failed_at.timestamp()} {row.payload}"
    return sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()


def retry(
    selection: failed_jobs.Selection = failed_jobs.ALL,
    on_progress: Callable[[int], object] = lambda done: None,
    on_moved: Callable[[Iterable[int]], object] = lambda keys: None,
    how: How = AS_THEY_ARE,
) -> Retried:
    """Move the failed jobs that match back to their queues, oldest first.

    `on_progress` is called after each slice, with the number of rows that have been looked at, and
    `on_moved` with the numbers of the rows that this call has moved. When a store cannot be reached
    nothing more is tried: `RetryStopped` says how many were moved before.
    """
    moved = gone = seen = 0
    refused: dict[str, int] = {}
    for keys in failed_jobs.slices(selection):
        for connection, rows in _by_connection(keys, how).items():
            reason = refusal(connection, how.queue)
            if reason is not None:
                refused[reason] = refused.get(reason, 0) + len(rows)
                continue
            controls.forget_stops(str(row.uuid) for row in rows)  # they were about earlier runs
            edits = EditedRows()
            ready = _ready(rows, refused, how, how.first + seen, edits)
            done = _move(queues[connection].driver, ready, how)
            edits.moved(done.keys)
            moved += done.moved
            gone += done.gone
            on_moved(done.keys)
            for text, count in done.refused.items():
                refused[text] = refused.get(text, 0) + count
            if done.error is not None:
                raise RetryStopped(done.error, Retried(moved, gone, refused)) from done.error
        seen += len(keys)
        on_progress(seen)
    return Retried(moved, gone, refused)


def _by_connection(keys: Sequence[int], how: How) -> dict[str, list[FailedJob]]:
    """Return the rows by the connections that they go to, with the queues that they go to."""
    rows: dict[str, list[FailedJob]] = {}
    for row in failed_jobs.table().filter(id__in=keys).order_by("id").defer("exception", "history"):
        row.connection, row.queue = how.connection or row.connection, how.queue or row.queue
        rows.setdefault(row.connection, []).append(row)
    return rows


def _note_place(rows: Iterable[FailedJob], how: How) -> None:
    """Note for those that are moved elsewhere where their large arguments belong, and where their
    results come from: before the push, or in its transaction. Pruning looks there for the job.
    """
    if how.connection is None and how.queue is None:
        return
    alias = result_rows.store()
    large: dict[str, list[str]] = {}
    results: dict[tuple[str, str], list[UUID]] = {}
    for row in rows:
        if is_stored(row.payload):
            large.setdefault(row.connection, []).append(str(row.uuid))
        if links_of(row.payload).result:
            results.setdefault((row.connection, row.queue), []).append(row.uuid)
    for connection, ids in large.items():
        payload_store.moved(ids, connection)
    if alias is not None:
        for (connection, queue), keys in results.items():
            there = result_rows.table(alias).filter(pk__in=keys)
            there.update(connection=connection, queue=queue)


def refusal(connection: str, queue: str | None = None) -> str | None:
    """Return why failed jobs cannot go to `connection`, or not to that `queue` of it; None if they
    can.
    """
    try:
        capabilities = queues[connection].driver.capabilities
        queues[connection].check(queue)
    except QueueError as error:
        return str(error)
    if not capabilities.keeps_jobs:
        return (
            f'Connection "{connection}" keeps no jobs, so none can go back to it. Give it a driver '
            "that does, or dispatch the job again."
        )
    return None


def _ready(
    rows: Sequence[FailedJob], refused: dict[str, int], how: How, before: int, edits: EditedRows
) -> list[tuple[FailedJob, OutgoingJob]]:
    """Return the job to push for each row, made before anything is deleted. A row for which the
    project's own code raises is counted in `refused`, and does not hold up the others.
    """
    ready = []
    for place, row in enumerate(rows, before):
        if how.seen.get(row.pk, seen := as_read(row)) != seen:
            refused[FAILED_AGAIN] = refused.get(FAILED_AGAIN, 0) + 1
            continue
        text = how.payloads.get(row.pk)
        try:
            job = outgoing(row) if text is None else edits.outgoing(row, text)
            ready.append((row, job._replace(delay=how.pace * place)))
        except RefusedError as error:
            refused[str(error)] = refused.get(str(error), 0) + 1
    return ready


class _Moved(NamedTuple):
    """What became of some."""

    moved: int = 0
    gone: int = 0
    refused: Mapping[str, int] = {}
    error: QueueUnavailable | None = None
    """Why the others are as they were."""
    keys: Sequence[int] = ()
    """The rows of what was moved."""

    def without(self, reasons: Iterable[str]) -> _Moved:
        """This, and others that were refused."""
        return self._replace(refused=Counter(self.refused) + Counter(reasons))

    def plus(self, more: _Moved) -> _Moved:
        """Return both together."""
        refused = {**self.refused}
        for reason, count in more.refused.items():
            refused[reason] = refused.get(reason, 0) + count
        keys = (*self.keys, *more.keys)
        return _Moved(self.moved + more.moved, self.gone + more.gone, refused, more.error, keys)


def _move(driver: Driver, ready: Sequence[tuple[FailedJob, OutgoingJob]], how: How) -> _Moved:
    if not ready:
        return _Moved()
    if driver.shares_transaction_with(failed_jobs.store()):
        return _move_together(driver, ready, how)
    if keeps_keys_in_sql(driver):
        bound = [each for each in ready if needs_guard(each[0].payload) or each[1].unique]
    else:  # whether a key is free is known when its store is asked
        bound = [each for each in ready if needs_guard(each[0].payload) and not each[1].unique]
    others = [each for each in ready if each not in bound] if bound else ready
    done = _move_bound(driver, bound, how) if bound else _Moved()
    if not others or done.error is not None:
        return done
    return done.plus(_move_apart(driver, others, how))


def _move_bound(driver: Driver, ready: Sequence[tuple[FailedJob, OutgoingJob]], how: How) -> _Moved:
    """Move jobs that are bound to others, which have rows in SQL too: in one transaction into the
    outbox, and from there to their store.
    """
    alias, connection = failed_jobs.store(), driver.settings.name
    written = Written(alias, connection)
    kept_out: Mapping[str, str] = {}
    with transaction.atomic(using=alias):
        found = _take([row for row, _job in ready])
        there = {row.pk for row in found}
        jobs = [(row, as_pushed(job, job.push_id)) for row, job in ready if row.pk in there]
        if unique := [job for _row, job in jobs if job.unique]:
            kept_out = take_keys(connection, unique)
        if kept_out:  # their rows are to stay
            transaction.set_rollback(True, using=alias)
        else:
            written.write([job for _row, job in jobs])
            failures.restore(alias, found)
            _keep(found)
            _note_place(found, how)
    if kept_out:
        left = [(row, job) for row, job in ready if job.id not in kept_out]
        done = _move_bound(driver, left, how) if left else _Moved()
        return done.without(map(why_kept_out, kept_out.values()))
    written.move([job for _row, job in jobs], driver)  # what is left is moved by a worker
    return _Moved(len(found), len(ready) - len(found), keys=sorted(there))


def _move_apart(driver: Driver, ready: Sequence[tuple[FailedJob, OutgoingJob]], how: How) -> _Moved:
    """Move jobs to another store: their rows are held meanwhile, and deleted after the push."""
    by = new_holder()
    keys = failed_jobs.take(by, [row for row, _job in ready])
    taken = [(row, as_pushed(job, keys[row.pk])) for row, job in ready if row.pk in keys]
    pushed = Pushed()
    # Before the push: the job may end at once.
    failures.restore_results(failed_jobs.store(), [row for row, _job in taken])
    _note_place([row for row, _job in taken], how)
    try:
        if taken:
            pushed = push(driver, [job for _row, job in taken], failed_jobs.HOLD / 6)
    finally:
        rows = [row for row, job in taken if job.id in pushed.stored]
        _keep(rows)
        moved = failed_jobs.gone(by, [row.pk for row in rows])
        failed_jobs.let_go(by, keys)
        left = [row for row, job in taken if job.id not in pushed.stored]
        failures.fail_again(failed_jobs.store(), left)
        if left:  # the rows in the store say where they were
            there = failed_jobs.table().filter(failed_jobs.same(left))
            _note_place(there.defer("exception", "history"), how)
    gone = len(ready) - len(taken)
    refused = Counter(error.message for error in pushed.refused.values())
    numbers = [row.pk for row in rows]
    done = _Moved(moved, gone + len(rows) - moved, refused, pushed.error, numbers)
    return done.without(map(why_kept_out, pushed.kept_out.values()))


def _move_together(
    driver: Driver, ready: Sequence[tuple[FailedJob, OutgoingJob]], how: How
) -> _Moved:
    """Move jobs in one transaction. The delete comes first, and its row count decides which of two
    operators moves them.
    """
    jobs = {row.pk: job for row, job in ready}
    try:
        with transaction.atomic(using=failed_jobs.store()):
            taken = _take([row for row, _job in ready])
            bound = [as_pushed(jobs[row.pk], jobs[row.pk].push_id) for row in taken]
            push_all(driver, bound)
            failures.restore(failed_jobs.store(), taken)
            _keep(taken)
            _note_place(taken, how)
    except KeysTaken as error:  # nothing is moved yet: then without those
        left = [(row, job) for row, job in ready if job.id not in error.holders]
        return _move(driver, left, how).without(map(why_kept_out, error.holders.values()))
    except QueueUnavailable as error:
        return _Moved(error=error)
    return _Moved(len(taken), len(ready) - len(taken), keys=[row.pk for row in taken])


def _keep(rows: Iterable[FailedJob]) -> None:
    """Keep the arguments of retried jobs from being pruned."""
    large = {str(row.uuid): row.connection for row in rows if is_stored(row.payload)}
    if large:
        payload_store.postpone_check(large, max(map(seconds_until_check, set(large.values()))))


def _take(rows: Sequence[FailedJob]) -> Sequence[FailedJob]:
    """Delete the rows. Return those that still existed."""
    alias = failed_jobs.store()
    with transaction.atomic(using=alias):
        complete = _delete(rows) == len(rows)
        if not complete:  # some were gone, and a count does not say which
            transaction.set_rollback(True, using=alias)
    return rows if complete else [row for row in rows if _delete([row])]


def _delete(rows: Sequence[FailedJob]) -> int:
    return delete_rows(failed_jobs.free().filter(failed_jobs.same(rows)))
