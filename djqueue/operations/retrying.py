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

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from django.db import transaction

from djqueue.compat import delete_rows
from djqueue.composition import failures
from djqueue.databases.holding import new_holder
from djqueue.dispatch import controls
from djqueue.dispatch.connections import queues
from djqueue.dispatch.dispatch import text_for_job
from djqueue.dispatch.large import seconds_until_check
from djqueue.dispatch.outbox.outbox import Written
from djqueue.dispatch.outbox.pushing import Pushed, push
from djqueue.dispatch.unique.keys import KeysTaken, keeps_keys_in_sql, push_all, why_kept_out
from djqueue.dispatch.unique.pushing import take_keys
from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.types import UniqueKey
from djqueue.errors import PayloadError, QueueError, QueueUnavailable, UnknownJob
from djqueue.jobs import registry
from djqueue.jobs.definition.durations import seconds_until
from djqueue.jobs.definition.spec import JobSpec
from djqueue.operations import failed_jobs
from djqueue.payload import payload
from djqueue.payload import store as payload_store
from djqueue.payload.ids import new_push_id
from djqueue.payload.links import links_of, may_be_linked, needs_guard, with_links
from djqueue.payload.packing import is_stored
from djqueue.payload.waiting import with_due

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from djqueue.drivers.base import Driver
    from djqueue.jobs.definition.spec import JobInstance
    from djqueue.models import FailedJob

__all__ = ["How", "Retried", "RetryStopped", "retry", "with_retry_until"]

T = TypeVar("T")


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
    first: int = 0
    """How many of the same spread were retried before."""


AS_THEY_ARE = How()


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
        for connection, rows in _by_connection(keys).items():
            reason = _refusal(connection)
            if reason is not None:
                refused[reason] = refused.get(reason, 0) + len(rows)
                continue
            controls.forget_stops(str(row.uuid) for row in rows)  # they were about earlier runs
            ready = _ready(rows, refused, how, how.first + seen)
            done = _move(queues[connection].driver, ready)
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


def _by_connection(keys: Sequence[int]) -> dict[str, list[FailedJob]]:
    rows: dict[str, list[FailedJob]] = {}
    for row in failed_jobs.table().filter(id__in=keys).order_by("id").defer("exception", "history"):
        rows.setdefault(row.connection, []).append(row)
    return rows


def _refusal(connection: str) -> str | None:
    """Return why jobs that failed on `connection` cannot go back there; None if they can."""
    try:
        capabilities = queues[connection].driver.capabilities
    except QueueError as error:
        return str(error)
    if not capabilities.keeps_jobs:
        return (
            f'Connection "{connection}" keeps no jobs, so none can go back to it. Give it a driver '
            "that does, or dispatch the job again."
        )
    return None


class _RefusedError(Exception):
    """One row cannot go back. Its text is the reason."""


def _ready(
    rows: Sequence[FailedJob], refused: dict[str, int], how: How, before: int
) -> list[tuple[FailedJob, OutgoingJob]]:
    """Return the job to push for each row, made before anything is deleted. A row for which the
    project's own code raises is counted in `refused`, and does not hold up the others.
    """
    ready = []
    for place, row in enumerate(rows, before):
        row.payload = how.payloads.get(row.pk, row.payload)
        try:
            ready.append((row, _outgoing(row)._replace(delay=how.pace * place)))
        except _RefusedError as error:
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


def _move(driver: Driver, ready: Sequence[tuple[FailedJob, OutgoingJob]]) -> _Moved:
    if not ready:
        return _Moved()
    if driver.shares_transaction_with(failed_jobs.store()):
        return _move_together(driver, ready)
    if keeps_keys_in_sql(driver):
        bound = [each for each in ready if needs_guard(each[0].payload) or each[1].unique]
    else:  # whether a key is free is known when its store is asked
        bound = [each for each in ready if needs_guard(each[0].payload) and not each[1].unique]
    others = [each for each in ready if each not in bound] if bound else ready
    done = _move_bound(driver, bound) if bound else _Moved()
    if not others or done.error is not None:
        return done
    return done.plus(_move_apart(driver, others))


def _move_bound(driver: Driver, ready: Sequence[tuple[FailedJob, OutgoingJob]]) -> _Moved:
    """Move jobs that are bound to others, which have rows in SQL too: in one transaction into the
    outbox, and from there to their store.
    """
    alias, connection = failed_jobs.store(), driver.settings.name
    written = Written(alias, connection)
    kept_out: Mapping[str, str] = {}
    with transaction.atomic(using=alias):
        found = _take([row for row, _job in ready])
        there = {row.pk for row in found}
        jobs = [(row, _as_pushed(job, job.push_id)) for row, job in ready if row.pk in there]
        if unique := [job for _row, job in jobs if job.unique]:
            kept_out = take_keys(connection, unique)
        if kept_out:  # their rows are to stay
            transaction.set_rollback(True, using=alias)
        else:
            written.write([job for _row, job in jobs])
            failures.restore(alias, found)
            _keep(found)
    if kept_out:
        left = [(row, job) for row, job in ready if job.id not in kept_out]
        done = _move_bound(driver, left) if left else _Moved()
        return done.without(map(why_kept_out, kept_out.values()))
    written.move([job for _row, job in jobs], driver)  # what is left is moved by a worker
    return _Moved(len(found), len(ready) - len(found), keys=sorted(there))


def _move_apart(driver: Driver, ready: Sequence[tuple[FailedJob, OutgoingJob]]) -> _Moved:
    """Move jobs to another store: their rows are held meanwhile, and deleted after the push."""
    by = new_holder()
    keys = failed_jobs.take(by, [row.pk for row, _job in ready])
    taken = [(row, _as_pushed(job, keys[row.pk])) for row, job in ready if row.pk in keys]
    pushed = Pushed()
    # Before the push: the job may end at once.
    failures.restore_results(failed_jobs.store(), [row for row, _job in taken])
    try:
        if taken:
            pushed = push(driver, [job for _row, job in taken], failed_jobs.HOLD / 6)
    finally:
        rows = [row for row, job in taken if job.id in pushed.stored]
        _keep(rows)
        moved = failed_jobs.gone(by, [row.pk for row in rows])
        failed_jobs.let_go(by, keys)
        failures.fail_again(
            failed_jobs.store(), [row for row, job in taken if job.id not in pushed.stored]
        )
    gone = len(ready) - len(taken)
    refused = Counter(error.message for error in pushed.refused.values())
    numbers = [row.pk for row in rows]
    done = _Moved(moved, gone + len(rows) - moved, refused, pushed.error, numbers)
    return done.without(map(why_kept_out, pushed.kept_out.values()))


def _move_together(driver: Driver, ready: Sequence[tuple[FailedJob, OutgoingJob]]) -> _Moved:
    """Move jobs in one transaction. The delete comes first, and its row count decides which of two
    operators moves them.
    """
    jobs = {row.pk: job for row, job in ready}
    try:
        with transaction.atomic(using=failed_jobs.store()):
            taken = _take([row for row, _job in ready])
            bound = [_as_pushed(jobs[row.pk], jobs[row.pk].push_id) for row in taken]
            push_all(driver, bound)
            failures.restore(failed_jobs.store(), taken)
            _keep(taken)
    except KeysTaken as error:  # nothing is moved yet: then without those
        left = [(row, job) for row, job in ready if job.id not in error.holders]
        return _move(driver, left).without(map(why_kept_out, error.holders.values()))
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
        complete = _delete([row.pk for row in rows]) == len(rows)
        if not complete:  # some were gone, and a count does not say which
            transaction.set_rollback(True, using=alias)
    return rows if complete else [row for row in rows if _delete([row.pk])]


def _delete(keys: Sequence[int]) -> int:
    return delete_rows(failed_jobs.free().filter(id__in=keys))


def _outgoing(row: FailedJob) -> OutgoingJob:
    text = with_retry_until(row.payload, None)
    job = OutgoingJob(str(row.uuid), row.queue, row.name, text, push_id=new_push_id())
    try:
        spec = registry.find(row.name)
    except UnknownJob:
        return job  # its queue may be read by other code than this
    text = with_retry_until(row.payload, _until(spec, row.payload))
    job = job._replace(payload=payload.with_limits(text, spec.limits), unique=_key(spec, text))
    # Those of the job's class: neither payload nor failed row says what using() said.
    return job._replace(
        priority=spec.options.priority, message_group=_message_group(spec, row.payload)
    )


def _key(spec: JobSpec, text: str) -> UniqueKey | None:
    """The key that the job had; None where it had none, or is not unique any more."""
    key = links_of(text).unique if may_be_linked(text) else ""
    return UniqueKey(key, spec.options.unique_for) if key and spec.options.unique else None


def _as_pushed(job: OutgoingJob, push_id: str) -> OutgoingJob:
    """The job as this push of it. One that is bound to others has the push in its payload too: its
    guard row tells a retry from a job that only came again.
    """
    text = with_due(job.payload, time.time() + job.delay)
    if may_be_linked(text):
        text = with_links(text, links_of(text)._replace(push=push_id, retried=True))
    return job._replace(push_id=push_id, payload=text)


def _message_group(spec: JobSpec, text: str) -> str | None:
    option = spec.options.message_group
    if not callable(option):
        return option
    return _ask(spec, text, "message_group", lambda job: text_for_job("message_group", option, job))


def _ask(spec: JobSpec, text: str, what: str, function: Callable[[JobInstance], T]) -> T | None:
    """Return what a function of the project says for the job; None if the job cannot be made."""
    try:
        # A savepoint: a query that fails in there must not break an open transaction for the rest.
        with transaction.atomic(using=failed_jobs.store()):
            return function(spec.load(payload_store.unpacked(payload.decode(text)).arguments))
    except PayloadError:
        return None  # it cannot run either; the next attempt says so
    except QueueUnavailable:
        raise
    except Exception as error:
        raise _RefusedError(
            f"the {what} of {spec.name} raised {type(error).__name__} for its arguments. "
            "Correct that function, then retry it."
        ) from error


def _until(spec: JobSpec, text: str) -> float | None:
    """Return until when the retried job may be tried, counted from now as after a dispatch. Return
    None if there is no such limit, or if it has passed.
    """
    now = time.time()
    until = spec.options.retry_until
    if "retry_until" in spec.per_instance:
        until = _ask(spec, text, "retry_until", spec.retry_until)
    if until is None:
        return None
    left = seconds_until(until, now)
    return now + left if left > 0 else None


def with_retry_until(text: str, until: float | None) -> str:
    """Return the payload with this ``retry_until``. A damaged payload is returned unchanged, to
    fail again.
    """
    if until is None and '"retry_until":' not in text:
        return text
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(data, dict):
        return text
    data.pop("retry_until", None)
    if until is not None and "sent" in data:
        # The head, the id and the time of the dispatch come first, the arguments last.
        parts, sent = list(data.items()), list(data).index("sent") + 1
        data = dict([*parts[:sent], ("retry_until", until), *parts[sent:]])
    return json.dumps(data, separators=(",", ":"))
