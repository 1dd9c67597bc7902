"""`dispatch`: from a job to its store.

It checks and encodes the job (`prepare`), then pushes it at once or after the commit
(`djqueue.dispatch.sending`). Web requests wait for it, so each call in it has to be worth its time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import time_ns
from typing import TYPE_CHECKING, Any, TypeVar, overload

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from djqueue import context
from djqueue.compat import running_loop
from djqueue.dispatch.commits import aliases_to_wait_for, when_all_commit
from djqueue.dispatch.connections import queues
from djqueue.dispatch.dispatched import DispatchedJob
from djqueue.dispatch.inline import run_here
from djqueue.dispatch.large import shrink, store_bodies
from djqueue.dispatch.outbox.debouncing import debounce, with_wish
from djqueue.dispatch.outgoing import Sendable
from djqueue.dispatch.recording import recorders
from djqueue.dispatch.route import plan_of
from djqueue.dispatch.sending import deferred_for, send, send_with_results
from djqueue.dispatch.unique.keys import with_key
from djqueue.drivers.base import OutgoingJob
from djqueue.errors import InvalidJob, Unsupported
from djqueue.jobs.definition.durations import seconds_until
from djqueue.jobs.definition.spec import JobSpec, spec_of
from djqueue.payload.encryption import encrypted
from djqueue.payload.ids import Moment
from djqueue.payload.keyring import hidden_key
from djqueue.payload.links import KEEPS_RESULT
from djqueue.payload.payload import encode, encode_more
from djqueue.text.marks import mark
from djqueue.tracing.dispatching import send_traced
from djqueue.tracing.tracing import tracing

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from djqueue.jobs.definition.options import PerJob
    from djqueue.jobs.definition.spec import Handles, JobInstance

__all__ = ["adispatch", "conversions", "dispatch", "dispatch_sync", "prepare", "prepare_as"]
__all__ += ["refuse_event_loop", "text_for_job"]

R = TypeVar("R")

conversions: list[Callable[[Any], Any]] = []
"""Make a job of something else; what they cannot convert they return as it is."""

_LONGEST = 128
"""Characters of a message group and of a deduplication id."""


@overload
def dispatch(job: Handles[Coroutine[Any, Any, R]]) -> DispatchedJob[R]: ...
@overload
def dispatch(job: Handles[R]) -> DispatchedJob[R]: ...
@overload
def dispatch(job: Callable[[], Coroutine[Any, Any, R]]) -> DispatchedJob[R]: ...
@overload
def dispatch(job: Callable[[], R]) -> DispatchedJob[R]: ...
def dispatch(job: Any) -> DispatchedJob[Any]:
    """Queue `job`; the same as ``job.dispatch()``. A lambda or local function is a
    `closure <djqueue.jobs.closures>`.
    """
    try:
        spec = spec_of(job)
    except TypeError:
        job, spec = _converted(job)
    refuse_event_loop("dispatch()", "await adispatch()")
    if tracing.tracer is None:
        return _dispatch(job, spec)
    return send_traced(_dispatch, job, spec)


def _dispatch(job: JobInstance, spec: JobSpec) -> DispatchedJob[Any]:
    sendable = prepare(job, spec)
    if sendable.plan.unique:
        sendable = with_key(sendable, spec)
    elif sendable.plan.debounces:
        return _debounced(with_wish(sendable, spec))
    outgoing, plan = sendable.outgoing, sendable.plan
    sent = sendable if len(outgoing.payload) <= plan.fits else shrink(sendable)
    if recorders.innermost is not None and (recorder := recorders.taking(job)) is not None:
        return recorder.record(sendable)
    aliases = aliases_to_wait_for(queues[plan.connection].driver) if plan.after_commit else ()
    if sent.body is not None:
        (sent,) = store_bodies(plan.connection, (sent,), waits=bool(aliases))
    if not aliases:
        if plan.keeps_result:
            holders = send_with_results(plan, (sent,))
        else:
            holders = send(plan.connection, (sent,), inline=plan.inline)
        return DispatchedJob(
            outgoing.id, plan.connection, outgoing.queue, existing=holders.get(outgoing.id)
        )
    deferred = deferred_for(plan)
    deferred.add(sent)
    deferred.write_rows(aliases)
    dispatched: DispatchedJob[Any] = DispatchedJob(
        outgoing.id, plan.connection, outgoing.queue, created=None, deferred=deferred
    )
    when_all_commit(aliases, deferred.publish)
    return dispatched


def _converted(job: Any) -> tuple[JobInstance, JobSpec]:
    """Return what `conversions` make of something that is no job, and its spec. Raises `TypeError`
    as `spec_of` does if they make nothing of it.
    """
    for convert in conversions:
        job = convert(job)
    return job, spec_of(job)


def _debounced(job: Sendable) -> DispatchedJob[Any]:
    """Let a debounced job wait, or have it recorded."""
    if (recorder := recorders.taking(job.instance)) is not None:
        return recorder.record(job)
    id, connection, queue = job.outgoing.id, job.plan.connection, job.outgoing.queue
    sent = debounce([job])
    if not sent.sent:
        return DispatchedJob(id, connection, queue, created=None, deferred=sent)
    existing = sent.holders.get(id)
    return DispatchedJob(existing or id, connection, queue, existing=existing)


@overload
async def adispatch(job: Handles[Coroutine[Any, Any, R]]) -> DispatchedJob[R]: ...
@overload
async def adispatch(job: Handles[R]) -> DispatchedJob[R]: ...
@overload
async def adispatch(job: Callable[[], Coroutine[Any, Any, R]]) -> DispatchedJob[R]: ...
@overload
async def adispatch(job: Callable[[], R]) -> DispatchedJob[R]: ...
async def adispatch(job: Any) -> DispatchedJob[Any]:
    """`dispatch` for coroutines, on the thread that Django's ORM uses for them."""
    dispatched: DispatchedJob[Any] = await sync_to_async(dispatch)(job)
    return dispatched


@overload
def dispatch_sync(job: Handles[Coroutine[Any, Any, R]]) -> R: ...
@overload
def dispatch_sync(job: Handles[R]) -> R: ...
@overload
def dispatch_sync(job: Callable[[], Coroutine[Any, Any, R]]) -> R: ...
@overload
def dispatch_sync(job: Callable[[], R]) -> R: ...
def dispatch_sync(job: Any) -> Any:
    """Run `job` in this process and return what ``handle()`` returned.

    The job is encoded and loaded as a queued one would be. An error reaches the caller, after
    ``failed()`` was called.
    """
    try:
        spec = spec_of(job)
    except TypeError:
        job, spec = _converted(job)
    refuse_event_loop("dispatch_sync()", "await sync_to_async(dispatch_sync)(job)")
    sendable = prepare(job, spec)
    return run_here(sendable.outgoing, sendable.plan.connection)


def prepare(job: JobInstance, spec: JobSpec) -> Sendable:
    """Check and encode `job` for a dispatch at this moment. Stores nothing."""
    moment = Moment(time_ns())
    (id,) = moment.ids(1)
    return prepare_as(job, spec, moment, id, context.stored())


def prepare_as(
    job: JobInstance, spec: JobSpec, moment: Moment, id: str, carried: str, batch: str = ""
) -> Sendable:
    """Check and encode `job` for a dispatch at `moment` with `id`, as a member of `batch` if one is
    given. Stores nothing. `carried` comes from `djqueue.context.stored`.
    """
    using, options = job._using, spec.options
    plan = plan_of(spec, using)
    when, tags, until, shown = options.delay, options.tags, options.retry_until, ""
    if using:
        when, tags = using.get("delay", when), using.get("tags", tags)
    try:
        if spec.per_instance:
            tags, until = spec.tags(job, tags), spec.retry_until(job)
            shown = spec.display_name(job)
        delay = 0.0 if when is None else seconds_until(when, moment.seconds)
        more = encode_more(display_name=shown) + carried if shown else carried
        if delay or tags or until is not None:
            last = None if until is None else moment.seconds + seconds_until(until, moment.seconds)
            more += encode_more(due=delay and moment.seconds + delay, retry_until=last, tags=tags)
        if plan.keeps_result:
            more = KEEPS_RESULT + more
        payload = encode(plan.head, id, moment.text, spec.encode(job), more)
        if plan.encrypts:
            payload = encrypted(payload, spec.name, plan.sizes.compress_above, plan.keeps_result)
        group, deduplication = options.message_group, options.deduplication_id
        if group is not None:
            group = text_for_job("message_group", group, job)
        if deduplication is not None:
            deduplication = text_for_job("deduplication_id", deduplication, job)
    except Exception as error:
        # Methods of the job raised it, or it tells of an argument.
        mark(error, encrypted=plan.encrypts)
        raise
    if plan.max_delay is not None and delay > plan.max_delay:
        raise _too_late(plan.connection, plan.max_delay, spec.name, delay)
    queue, priority = plan.queue, plan.priority
    outgoing = OutgoingJob(
        id, queue, spec.name, payload, delay, priority, group, deduplication, batch=batch
    )
    return Sendable(outgoing, job, plan)


def _too_late(connection: str, most: float, name: str, delay: float) -> Unsupported:
    return Unsupported(
        f'Connection "{connection}" delays a job by at most {most:g} s; {name} asks for {delay:g} '
        "s. Nothing was queued."
    )


def refuse_event_loop(called: str, instead: str) -> None:
    """Raise `SynchronousOnlyOperation` in a thread that runs an event loop, for every driver.

    As with the ORM, ``DJANGO_ALLOW_ASYNC_UNSAFE`` (for notebooks) turns this off.
    """
    if running_loop() is not None and not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):
        raise SynchronousOnlyOperation(
            f"{called} speaks to the store and would block the event loop: use {instead}."
        )


def text_for_job(key: str, option: PerJob, job: JobInstance) -> str:
    """Return the value of an option that is a text or a function of the job; of an encrypted job a
    digest of what the function returns.

    Raises `InvalidJob` for a function that returns anything but a text of the allowed length.
    """
    value: Any = option(job) if callable(option) else option
    hides = callable(option) and spec_of(job).options.encrypted
    if not isinstance(value, str) or len(value) > _LONGEST:
        shown = f"of type {type(value).__name__}" if hides else f"{value!r:.150}"
        raise InvalidJob(
            f"The {key} of {type(job).__qualname__} is {shown}, not a text of at most "
            f"{_LONGEST} characters. Nothing was queued."
        )
    return hidden_key(value) if hides else str(value)
