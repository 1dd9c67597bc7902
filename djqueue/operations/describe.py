"""Jobs and queues as operators read them: where a job stands, its arguments, what went wrong.

Secrets in it are masked (see `djqueue.text.masking`).
"""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import Q

from djqueue.composition.chains import steps
from djqueue.conf import settings
from djqueue.dispatch.unique.held import holders_of
from djqueue.dispatch.unique.keys import key_in
from djqueue.drivers import debounced
from djqueue.drivers.base import State
from djqueue.errors import (
    InvalidPayload,
    JobNotFound,
    QueueUnavailable,
    UnknownJob,
    Unsupported,
)
from djqueue.jobs import registry
from djqueue.operations import failed_jobs, selection
from djqueue.payload import history, parts, payload
from djqueue.payload.backoff import Exponential
from djqueue.payload.encryption import ENCRYPTED_CONTEXT, SHOWN, is_encrypted_value
from djqueue.payload.packing import ENCRYPTED, TooLong
from djqueue.payload.store import unpacked
from djqueue.results import asking, rows
from djqueue.runner.decision import Ending
from djqueue.text import short_ids as ids
from djqueue.text.masking import MASK, masked, masked_text
from djqueue.text.printable import one_line
from djqueue.text.tracebacks import without_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from djqueue.drivers.base import StoredJob
    from djqueue.models import FailedJob, JobResult
    from djqueue.operations.reports.queues.queue_status import QueueStatus

__all__ = [
    "LONGEST_SHOWN",
    "MOST_SHOWN",
    "describe_failed_job",
    "describe_job",
    "describe_queue",
    "failed",
    "held_back",
    "name_for_people",
    "options_of",
    "read_for_people",
    "readable",
    "remark_on",
    "show",
    "stored",
]

LONGEST_MESSAGE = 4_000
"""Characters of a message that a listing has. What workers write is shorter."""

MOST_SHOWN = 1 << 20
"""Bytes of packed arguments that are unpacked for a reader."""

LONGEST_SHOWN = 1 << 20
"""Characters of a stored payload that are read for a reader."""


def name_for_people(name: str, stored: str) -> str:
    """Return a job's display name with its stored name, or the stored name alone. `stored` is the
    payload, or at least its first `parts.BEGINNING` characters.
    """
    shown = parts.display_name(stored)
    return f"{masked_text(shown)} ({name})" if shown else name


def show(text: str, connection: str | None = None) -> dict[str, Any]:
    """Return everything about the job whose id is `text`, or begins or ends with it. Raises
    `JobNotFound`.

    A stored job has the keys of `describe_job` and ``priority interruptions worker``, a failed one
    those of `describe_failed_job` and ``state exception``. Both have ``history sent options tags
    arguments``; ``display_name`` and ``context`` where the job has one; ``damaged`` where the
    payload or its arguments cannot be read; and ``remark`` where no worker that runs this code
    would run the job.

    A job whose result is kept has ``progress result owner`` as well, as far as they are known, also
    when it has ended and is in no store.
    """
    missing: list[JobNotFound] = []
    for look in (_look_in_stores, _look_in_failed_jobs, _look_in_results):
        try:
            return look(text, connection)
        except JobNotFound as error:
            missing.append(error)
    # The one that knows candidates, or connections that were silent, has more to say.
    raise max(missing, key=lambda each: len(str(each)))


def _look_in_stores(text: str, connection: str | None) -> dict[str, Any]:
    keeper, job = selection.locate(text, connection)
    return {**stored(keeper, job), **_result_of(job.id)}


def _look_in_failed_jobs(text: str, connection: str | None) -> dict[str, Any]:
    try:
        row = failed_jobs.find(text)
    except Unsupported:
        raise JobNotFound("") from None
    return {**failed(row), **_result_of(str(row.uuid))}


def _look_in_results(text: str, connection: str | None) -> dict[str, Any]:
    row = _find_result(text)
    if row is None:
        raise JobNotFound("")
    return _kept(row)


def describe_job(connection: str, job: StoredJob) -> dict[str, Any]:
    """Return a stored job as the JSON object that commands print. The keys are fixed."""
    return {
        "id": job.id,
        "name": job.name,
        "queue": job.queue,
        "connection": connection,
        "state": str(job.state),
        "attempts": job.attempts,
        "available_at": job.available_at,
        "reserved_at": job.reserved_at,
        "created_at": job.created_at,
    }


def describe_failed_job(row: FailedJob) -> dict[str, Any]:
    """Return a failed job as the JSON object that commands print. The keys are fixed."""
    return {
        "id": str(row.uuid),
        "row": row.pk,
        "name": row.name,
        "queue": row.queue,
        "connection": row.connection,
        "attempts": row.attempts,
        "exception_class": row.exception_class,
        "exception_message": masked_text(row.exception_message, LONGEST_MESSAGE),
        "failed_at": row.failed_at,
    }


def describe_queue(one: QueueStatus) -> dict[str, Any]:
    """Return a queue as the JSON object that commands print. The keys are fixed."""
    return {
        "connection": one.connection,
        "queue": one.queue,
        "waiting": one.counts.waiting,
        "delayed": one.counts.delayed,
        "reserved": one.counts.reserved,
        "oldest_at": one.counts.oldest_at,
        "paused": one.paused,
    }


def stored(connection: str, job: StoredJob) -> dict[str, Any]:
    """Return everything about a stored job but its result."""
    return {
        **describe_job(connection, job),
        "priority": job.priority,
        "interruptions": job.interruptions,
        "worker": job.worker,
        **_keys(job),
        **_chain(job.payload),
        **_content(job.payload, job.name),
        **_past(job),
    }


def _keys(job: StoredJob) -> dict[str, Any]:
    """Return the key of a unique job, whether the job still has it and which one has; and the key
    of a debounced job that waits.
    """
    keys: dict[str, Any] = {}
    if (key := key_in(job.payload)) is not None:
        holders = holders_of(key.key)
        mine = job.id in holders
        keys = {"unique_key": key.key, "has_unique_key": "yes" if mine else "no"}
        keys |= {"held_by": holders} if holders and not mine else {}
    if registry.debounces():
        debounce = debounced.key_of(settings().shared_database, job.id)
        keys |= {"debounce_key": debounce} if debounce else {}
    return keys


def _chain(text: str) -> dict[str, Any]:
    """Return where a step stands in its chain, and what waits behind it."""
    chain = steps.chain_of(text)
    if chain is None:
        return {}
    what = " (broken: they wait until it is retried)" if chain.broken else ""
    return {
        "chain": chain.id,
        "step": f"{chain.position} of {chain.length}",
        "next_steps": [f"{step.name} {ids.short(step.id)}{what}" for step in chain.waiting],
        "on_failure": chain.on_failure,
    }


class HeldBack(NamedTuple):
    """Why a job waits that a limit has held back."""

    until: datetime | None
    why: str
    """The message of the limit, with its name."""


def held_back(job_history: str, state: State, until: datetime | None) -> HeldBack | None:
    """Return why a job with that history is delayed, if a limit has held it back."""
    past = history.read(job_history).attempts
    if state is not State.DELAYED or not past or past[-1].get("kind") != Ending.HELD_BACK.value:
        return None
    return HeldBack(until, str(past[-1].get("message", "")))


def _past(job: StoredJob) -> dict[str, Any]:
    """Return the earlier attempts, and why a limit holds the job back, which is no attempt."""
    attempts = masked(history.shown(job.history))
    held = held_back(job.history, job.state, job.available_at)
    if held is None:
        return {"history": attempts}
    until = f" until {held.until:%Y-%m-%d %H:%M:%S %Z}" if held.until else ""
    return {"held_back": f"{masked_text(held.why)} Held back{until}.", "history": attempts[:-1]}


def failed(row: FailedJob) -> dict[str, Any]:
    """Return everything about a failed job but its result."""
    return {
        **describe_failed_job(row),
        "state": "failed",
        "host": row.host or None,
        "duration": row.duration,
        **_chain(row.payload),
        **_content(row.payload, row.name),
        "history": masked(history.shown(row.history)),
        "exception": masked_text(without_token(row.exception)),
    }


def _find_result(text: str) -> JobResult | None:
    """Return the result of the job whose id is `text`, or begins or ends with it; None where none
    are kept. Raises `JobNotFound`.
    """
    alias = rows.store()
    if alias is None:
        return None
    part = ids.digits(text)
    whole = len(part) == ids.LENGTH
    like = Q(id__startswith=ids.as_begin(part)) | Q(id__endswith=ids.as_end(part))
    found = list(
        rows.table(alias).filter(Q(id=part) if whole else like)[: failed_jobs.CANDIDATES + 1]
    )
    if len(found) == 1:
        return found[0]
    raise failed_jobs.not_found("result", text, [str(row.id) for row in found])


def _result_of(id: str) -> dict[str, Any]:
    """Return ``progress``, ``result`` and ``owner`` of a job, as far as they are known."""
    row = asking.read(id)
    return {} if row is None else _about(row)


def _kept(row: JobResult) -> dict[str, Any]:
    """Return everything about a result whose job is in no store any more."""
    return {
        "id": str(row.id),
        "name": row.name,
        "queue": row.queue,
        "connection": row.connection,
        "state": str(asking.ended_as(row) or asking.JobStatus.UNKNOWN),
        "created_at": row.created_at,
        "finished_at": row.finished_at,
        **_about(row),
        **({} if row.error is None else {"error": masked_text(row.error)}),
    }


def _about(row: JobResult) -> dict[str, Any]:
    progress = asking.progress_of(row)
    about: dict[str, Any] = {}
    if progress is not None:
        said = f": {masked_text(progress.message)}" if progress.message else ""
        about["progress"] = f"{progress.done:g} of {progress.total:g} ({progress.percent} %){said}"
    if row.value is not None:
        stored = json.loads(row.value)
        about["result"] = SHOWN if is_encrypted_value(stored) else masked(stored)
    if row.owner:
        about["owner"] = row.owner
    return about


def _content(text: str, name: str) -> dict[str, Any]:
    try:
        read, problem = read_for_people(text)
    except InvalidPayload as error:
        return {"damaged": masked_text(str(error))}
    return {
        **({"display_name": masked_text(read.display_name)} if read.display_name else {}),
        "sent": datetime.fromtimestamp(read.sent, timezone.utc),
        "options": options_of(read.head.limits),
        "tags": masked(list(read.tags)),
        "arguments": SHOWN if read.head.limits.encrypted else masked(dict(read.arguments)),
        **({"context": _context(read.context)} if read.context else {}),
        **({"damaged": masked_text(problem)} if problem else {}),
        **({"remark": remark} if (remark := remark_on(read.head.name, name)) else {}),
    }


def _context(kept: Mapping[str, Any]) -> dict[str, Any]:
    if ENCRYPTED_CONTEXT in kept:
        kept = {**kept.get("values", {}), ENCRYPTED_CONTEXT: SHOWN}
    return {**masked(kept), **({"hidden": MASK} if "hidden" in kept else {})}


def read_for_people(text: str) -> tuple[payload.Payload, str]:
    """Return a stored payload with its arguments, or without them and the reason why. Raises
    `InvalidPayload`. Nothing of the payload is run, and one that is too long for a reader is not
    read. Encrypted arguments stay encrypted.
    """
    if len(text) > LONGEST_SHOWN:
        raise InvalidPayload(
            f"The payload is not shown: it is longer than {LONGEST_SHOWN:,} characters."
        )
    return readable(payload.decode(text))


def remark_on(named: str, stored_as: str) -> str:
    """Return a remark about a job that its payload calls `named` and its row or message
    `stored_as`; an empty text if nothing is unusual.
    """
    # As far as both are shown: what a column cannot hold is spelled out in it, and cut.
    if one_line(named)[:200] != one_line(stored_as)[:200]:
        return (
            f'Its payload is of a job called "{named}", and it is stored as "{stored_as}": nothing '
            "of djqueue's has written that, and no worker runs it."
        )
    try:
        registry.find(named)
    except UnknownJob as error:
        return f"{error} Workers hold it back for a while, then it fails."
    return ""


def options_of(limits: payload.Limits) -> dict[str, Any]:
    """Return the options of a payload that differ from their defaults."""
    return {
        field.name: _json_value(value)
        for field in fields(limits)
        if (value := getattr(limits, field.name)) != field.default
    }


def _json_value(value: Any) -> Any:
    if isinstance(value, Exponential):
        return dict(vars(value))
    return list(value) if isinstance(value, tuple) else value


def readable(read: payload.Payload) -> tuple[payload.Payload, str]:
    """Return a payload with its arguments unpacked, or unchanged with the reason why they are
    not. What is encrypted is not decrypted for people.
    """
    if read.head.limits.encrypted or (read.packed and read.packed.how == ENCRYPTED):
        return read, ""
    try:
        return unpacked(read, MOST_SHOWN), ""
    except TooLong:
        return read, f"The arguments are not shown: they are longer than {MOST_SHOWN:,} bytes."
    except (InvalidPayload, QueueUnavailable) as error:
        return read, str(error)
