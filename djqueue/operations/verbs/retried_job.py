"""The job to push for a failed row that is retried: its payload with the limits of today's code."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, TypeVar

from django.db import transaction

from djqueue.dispatch.dispatch import text_for_job
from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.types import UniqueKey
from djqueue.errors import PayloadError, QueueUnavailable, Undecryptable
from djqueue.jobs import registry
from djqueue.jobs.definition.durations import seconds_until
from djqueue.jobs.definition.spec import JobSpec
from djqueue.operations import failed_jobs
from djqueue.payload import payload
from djqueue.payload import store as payload_store
from djqueue.payload.ids import new_push_id
from djqueue.payload.links import links_of, may_be_linked, with_links
from djqueue.payload.waiting import with_due

if TYPE_CHECKING:
    from collections.abc import Callable

    from djqueue.jobs.definition.spec import JobInstance
    from djqueue.models import FailedJob

__all__ = ["RefusedError", "as_pushed", "outgoing", "with_retry_until"]

T = TypeVar("T")


class RefusedError(Exception):
    """One row cannot go back. Its text is the reason."""


def outgoing(row: FailedJob) -> OutgoingJob:
    """Return the job to push for a row. Raises `RefusedError` if the project's own code does."""
    text = with_retry_until(row.payload, None)
    job = OutgoingJob(str(row.uuid), row.queue, row.name, text, push_id=new_push_id())
    if registry.class_of(row.name) is None:
        return job  # its queue may be read by other code than this
    spec = registry.find(row.name)
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


def as_pushed(job: OutgoingJob, push_id: str) -> OutgoingJob:
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
    except Undecryptable as error:
        raise RefusedError(
            f"its {what} is asked of its arguments, and this process has no key for them. Retry it"
            " where the workers run."
        ) from error
    except PayloadError:
        return None  # it cannot run either; the next attempt says so
    except QueueUnavailable:
        raise
    except Exception as error:
        raise RefusedError(
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
