"""`batch`: jobs that are followed together, and what runs when some or all of them have ended."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import time_ns
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict

from asgiref.sync import sync_to_async
from django.db import DatabaseError, transaction
from django.utils import timezone

from djqueue import context
from djqueue.composition import following
from djqueue.composition.batches import counting
from djqueue.composition.batches.announcing import announce_all
from djqueue.composition.batches.growing import Member, Members
from djqueue.composition.batches.publishing import settle
from djqueue.composition.batches.upkeep import newest_row
from djqueue.composition.batches.wishes import (
    checked_name,
    checked_options,
    reason_of,
    stored_using,
)
from djqueue.composition.chains import steps
from djqueue.composition.chains.chain import Chain, with_options, without_delay
from djqueue.composition.chains.staging import Place, Places, Stageable
from djqueue.composition.chains.steps import ON_FAILURE, Waiting
from djqueue.composition.ended import Turn
from djqueue.conf import did_you_mean
from djqueue.databases.transactions import open_aliases
from djqueue.dispatch.commits import when_all_commit
from djqueue.dispatch.dispatch import prepare_as, refuse_event_loop
from djqueue.dispatch.large import shrunk
from djqueue.dispatch.recording import recorders
from djqueue.errors import InvalidJob
from djqueue.jobs.definition.options import checked_overrides
from djqueue.jobs.definition.spec import spec_of, spec_to_bind
from djqueue.payload.ids import Moment, new_id
from djqueue.payload.links import stored_links
from djqueue.tracing.dispatching import sending

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from djqueue.composition.batches.growing import Slice
    from djqueue.composition.batches.publishing import Publish
    from djqueue.composition.chains.staging import BatchStep
    from djqueue.jobs.definition.options import Overrides
    from djqueue.jobs.definition.spec import JobInstance
    from djqueue.models import JobBatch

__all__ = ["Batch", "batch"]

Callbacks = Mapping[int, "JobInstance | None"]


class Batch(Stageable):
    """Members, and jobs for what becomes of them. `dispatch` queues the members as they come."""

    def __init__(
        self, members: Iterable[Member], name: str, wishes: Mapping[str, Any], callbacks: Callbacks
    ) -> None:
        self._members = members
        self.name = name
        self._wishes = wishes
        self._callbacks = {at: job for at, job in callbacks.items() if job is not None}
        self._using: Mapping[str, Any] = MappingProxyType({})
        for job in self._callbacks.values():
            spec_to_bind(job)

    def using(self, **overrides: Unpack[Overrides]) -> Self:
        """Return a copy whose members and callbacks have these options, where they have none of
        their own from ``using()``. ``delay`` is for the members.
        """
        given = checked_overrides(overrides, "batch().using()")
        configured = copy.copy(self)
        configured._using = {**self._using, **given}
        return configured

    def dispatch(self) -> JobBatch:
        """Queue the batch, 1,000 members at a time. The first ones run before the last ones are
        taken from the iterable. Its exception cancels the batch and is raised.

        In a transaction nothing runs before the commit; if it is not only that of the batches, the
        encoded members wait in memory until then.
        """
        refuse_event_loop("dispatch()", "await adispatch()")
        with sending() as span:
            row = self._dispatch()
            span.tell(batch=row.pk, count=row.total_jobs)
        return row

    def _dispatch(self) -> JobBatch:
        moment = Moment(time_ns())
        (id,) = moment.ids(1)
        row = self._row(id)
        waiting = self._waiting(moment)
        members = Members(id, self._using, Places(behind=_places(waiting)))
        recorder = recorders.innermost and recorders.taking(*self.jobs())
        if recorder is not None:
            encoded = [members.encode(each, moment, new_id()) for each in self._members]
            row.total_jobs = row.pending_jobs = recorder.record_batch(self.name, encoded)
            return row
        others = [alias for alias in open_aliases() if alias != steps.store()]
        if others:
            ready = list(members.encoded(self._members))
            row.total_jobs = row.pending_jobs = sum(each.size for each in ready)
            when_all_commit(others, lambda: _begin(row, waiting, members, iter(ready)))
            return row
        _begin(row, waiting, members, members.encoded(self._members))
        row.refresh_from_db(using=steps.store())
        return row

    async def adispatch(self) -> JobBatch:
        """`dispatch` for coroutines, on the thread that Django's ORM uses for them."""
        dispatched: JobBatch = await sync_to_async(self.dispatch)()
        return dispatched

    def below(self, using: Mapping[str, Any]) -> Self:
        """Return a copy with these options too, where it has none of its own."""
        configured = copy.copy(self)
        configured._using = {**using, **self._using}
        return configured

    def stage(self, step: BatchStep, places: Places) -> None:
        """Write it, and its members, a slice at a time. An exception of the iterable is raised."""
        row, links = self._row(step.id), step.links
        row.turn, row.chain, row.outer = Turn.WAITS, links.chain, links.batch or None
        row.depth, row.links = step.depth, json.dumps(stored_links(links))
        waiting = self._waiting(Moment(time_ns()))
        inside = places.inside(_places(waiting))
        members = Members(step.id, self._using, inside, step.depth, waits=True)
        _write(row, waiting)
        for some in members.encoded(self._members):
            members.store(some, lambda alias: counting.keep_staged_open(alias, step.id))
        places.take(inside)

    def encoded(self, step: BatchStep) -> Iterator[Any]:
        """Return its members, each a `Sendable` or an encoded chain. Stores nothing."""
        members = Members(step.id, self._using, Places(), step.depth)
        moment = Moment(time_ns())
        return (members.encode(each, moment, new_id()) for each in self._members)

    def jobs(self) -> Iterator[JobInstance]:
        """Return its jobs, and those of chains among its members. Takes all from the iterable."""
        self._members = list(self._members)
        for each in self._members:
            yield from each.jobs() if isinstance(each, Chain) else (each,)

    def _row(self, id: str) -> JobBatch:
        from djqueue.models import JobBatch

        wishes = dict(self._wishes)
        if self._using:
            wishes["using"] = stored_using(self._using)
        options = json.dumps(wishes) if wishes else ""
        return JobBatch(id=id, name=self.name, created_at=timezone.now(), stored_options=options)

    def _waiting(self, moment: Moment) -> list[Waiting]:
        """Return the rows of the jobs that it may call for."""
        ids = moment.ids(len(self._callbacks))
        called = zip(self._callbacks.items(), ids, strict=True)
        return [self._encoded(job, moment, id, at) for (at, job), id in called]

    def _encoded(self, job: JobInstance, moment: Moment, id: str, position: int) -> Waiting:
        job = with_options(job, without_delay(self._using))
        sendable = prepare_as(job, spec_of(job), moment, id, context.stored())
        sendable = shrunk(sendable, is_copied=position in counting.COPIED)
        return Waiting(sendable.plan.connection, sendable.outgoing, position)


def _places(waiting: Sequence[Waiting]) -> list[Place]:
    return [Place(connection, job.name) for connection, job, _ in waiting]


def _write(row: JobBatch, waiting: Sequence[Waiting]) -> None:
    alias = steps.store()
    with transaction.atomic(using=alias):
        row.swept_to = newest_row(alias)
        row.save(using=alias, force_insert=True)
        counting.keep_open(alias, row.pk)
        steps.write(alias, row.pk, waiting)


def _begin(
    row: JobBatch, waiting: list[Waiting], members: Members, slices: Iterator[Slice]
) -> None:
    """Store the batch and its members. Errors of members that ran here are raised at the end."""
    id = row.pk
    _write(row, waiting)
    try:
        for some in slices:
            if not members.store(some, stays_open=True):
                break  # it was cancelled meanwhile
        if members.discarded:
            _cancel(id, counting.THROWN_AWAY)
    except InvalidJob:
        if members.stored:
            _break_off(id, members, "its dispatch was refused")
        else:  # nothing is there that it could be about
            steps.give_up(steps.store(), [id])
            row.delete(using=steps.store())
        raise
    except BaseException as error:
        _break_off(id, members, reason_of(error))
        raise
    members.publishing.add([_closed(id)])
    if not members.has_worker:
        members.publishing.add([partial(announce_all, steps.store())])
    members.publishing.raise_first()


def _break_off(id: str, members: Members, reason: str) -> None:
    with suppress(DatabaseError):  # a worker closes the batch an hour later
        _cancel(id, reason)
        members.publishing.add([_closed(id)])


def _cancel(id: str, reason: str) -> None:
    with transaction.atomic(using=steps.store()):
        counting.cancel(steps.store(), id, reason)


def _closed(id: str) -> Publish:
    return settle(steps.store(), lambda: following.close(steps.store(), id))


class Wishes(TypedDict, total=False):
    """What a batch is given beside its members."""

    name: str
    on_progress: JobInstance | None
    on_success: JobInstance | None
    on_failure: JobInstance | None
    on_finish: JobInstance | None
    allow_failures: bool | JobInstance
    options: Mapping[str, Any] | None


def batch(jobs: Iterable[Member], **wishes: Unpack[Wishes]) -> Batch:
    """Bind jobs, or chains, into a batch: ``batch(Import(row) for row in rows).dispatch()``.

    `on_progress` runs at most once a second and once at the end, `on_success` when every member has
    succeeded, `on_failure` at the first failure, `on_finish` when nothing is pending for the first
    time. The first failure cancels the rest, unless `allow_failures`; a job given there runs for
    each failure, with the id of the failed member as its ``previous``. `options` are JSON values
    that ``current_job().batch.options`` gives back.
    """
    if unknown := sorted(wishes.keys() - Wishes.__annotations__.keys()):
        near = did_you_mean(unknown[0], Wishes.__annotations__)
        raise TypeError(f"batch() does not take {unknown[0]!r}.{near} Nothing was queued.")
    allowed = wishes.get("allow_failures", False)
    each_failure = None if isinstance(allowed, bool) else allowed
    stored = {
        "allow_failures": bool(allowed),
        "on_progress": wishes.get("on_progress") is not None,
        "on_each_failure": each_failure is not None,
        "custom": checked_options(wishes.get("options")),
    }
    callbacks = {
        ON_FAILURE: wishes.get("on_failure"),
        counting.ON_SUCCESS: wishes.get("on_success"),
        counting.ON_FINISH: wishes.get("on_finish"),
        counting.ON_PROGRESS: wishes.get("on_progress"),
        counting.ON_EACH_FAILURE: each_failure,
    }
    name = checked_name(wishes.get("name", ""))
    return Batch(jobs, name, {key: value for key, value in stored.items() if value}, callbacks)
