"""The result of a job as the code reads it that has the job's id."""

from __future__ import annotations

import enum
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import DatabaseError, connections

from djqueue import arguments
from djqueue.databases.transactions import in_transaction
from djqueue.errors import (
    JobFailed,
    PayloadError,
    QueueUnavailable,
    ResultNotStored,
    ResultTimeout,
    UnknownJob,
)
from djqueue.jobs import registry
from djqueue.payload.encryption import decrypted_value
from djqueue.results import rows

if TYPE_CHECKING:
    from djqueue.models import JobResult

__all__ = [
    "FINAL",
    "JobStatus",
    "NotYet",
    "Progress",
    "ended_as",
    "pauses",
    "plain",
    "progress_of",
    "read",
    "read_some",
    "shown",
    "shown_unknown",
    "stored_value",
    "value_of",
]

logger = logging.getLogger("djqueue")


class JobStatus(str, enum.Enum):
    """Where a job stands."""

    WAITING = "waiting"
    DELAYED = "delayed"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """Its store has no such job. It may be done, deleted, or never have been there."""

    __str__ = str.__str__


FINAL = frozenset(
    {JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.UNKNOWN},
)
"""Where a job stands that nothing more is heard of."""


class Progress(NamedTuple):
    """How far a job has come, as it said with ``current_job().progress()``."""

    done: float
    total: float
    percent: int
    """From 0 to 100, rounded down."""
    message: str


class NotYet(Exception):  # noqa: N818 - not an error, and never seen outside of this package
    """The job has not ended."""


def read(id: str) -> JobResult | None:
    """Return the row of a job; None where its result is not kept, or no longer."""
    return read_some([id]).get(id)


def read_some(ids: Sequence[str]) -> dict[str, JobResult]:
    """Return the rows of jobs that there are, by their ids."""
    alias = rows.store()
    if alias is None or not ids:
        return {}
    try:
        return {str(row.pk): row for row in rows.table(alias).filter(pk__in=ids)}
    except DatabaseError as error:
        raise QueueUnavailable(f'The results in database "{alias}" are unavailable: {error}') from (
            error
        )


def ended_as(row: JobResult | None) -> JobStatus | None:
    """Return how the job ended; None where it has not, or where that is not known."""
    return None if row is None or row.finished_at is None else JobStatus(row.status)


def progress_of(row: JobResult | None) -> Progress | None:
    """Return how far the job has come; None where it has not said so."""
    if row is None or row.done is None or row.total is None:
        return None
    percent = 100 if row.done >= row.total else math.floor(100 * row.done / row.total)
    return Progress(_plain(row.done), _plain(row.total), percent, row.message)


def _plain(number: float) -> float:
    return int(number) if number.is_integer() else number


def value_of(row: JobResult | None, id: str) -> Any:
    """Return what the job returned. Raises `JobFailed`, `ResultNotStored` and `NotYet`."""
    if row is None:
        raise ResultNotStored(
            f"No result is kept of job {id}: its class has no store_result=True, it ended longer "
            'ago than DJQUEUE["RESULTS"]["KEEP_FOR"], or there is no such job.'
        )
    status = ended_as(row)
    if status is None:
        raise NotYet
    if status is JobStatus.FAILED:
        raise JobFailed(f"{row.name} {id} failed: {row.error or 'its error is not known'}")
    if status is JobStatus.CANCELLED:
        raise JobFailed(f"{row.name} {id} was cancelled.")
    if row.error is not None:
        raise ResultNotStored(f"{row.name} {id} is done, and its value is not stored: {row.error}")
    return None if row.value is None else decoded(row)


def decoded(row: JobResult) -> Any:
    """Return the value in a row, as the type that it was."""
    try:
        codec = registry.find(row.name).value_codec
    except UnknownJob:
        codec = arguments.compile(Any)  # the code that waits may have no such job
    return codec.decode(stored_value(row), row.name)


def stored_value(row: JobResult, **whose: str) -> Any:
    """Return the value in a row as it is stored, decrypted; `whose` says more of whose it has to
    be. Raises `Undecryptable`, and `InvalidPayload` for a plain value of an encrypted job.
    """
    if row.value is None:
        return None
    stored = json.loads(row.value)
    required = registry.is_encrypted(row.name)
    whose |= {"kind": "value", "job": row.name, "id": str(row.id)}
    return decrypted_value(stored, required=required, **whose)


def plain(stored: Any) -> Any:
    """Return a stored value as JSON for others than Python: of a type that JSON does not have the
    text or number, of a model its key.
    """
    if isinstance(stored, list):
        return [plain(each) for each in stored]
    if not isinstance(stored, dict):
        return stored
    if "$" not in stored:
        return {key: plain(value) for key, value in stored.items()}
    value = stored.get("v", stored.get("k"))
    if stored["$"] == "dict" and isinstance(value, list):
        return {str(plain(key)): plain(each) for key, each in value}
    return plain(value)


def shown(row: JobResult, status: JobStatus) -> dict[str, Any]:
    """Return what the owner of a result sees of it, as values for JSON."""
    progress = progress_of(row)
    try:
        value, error = plain(stored_value(row, owner=row.owner)), row.error
    except PayloadError as problem:  # what is to be done about it is for operators
        logger.warning("The result of job %s cannot be shown: %s", row.pk, problem)
        value, error = None, "The value cannot be read."
    return {
        "id": str(row.pk),
        "status": status,
        "progress": None if progress is None else progress._asdict(),
        "value": value,
        "error": error,
        "finished_at": row.finished_at,
    }


def shown_unknown(id: str) -> dict[str, Any]:
    """Return the same of a job that has no result."""
    nothing = dict.fromkeys(("progress", "value", "error", "finished_at"))
    return {"id": id, "status": JobStatus.UNKNOWN, **nothing}


_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5


def pauses(id: str, timeout: float | None) -> Iterator[float]:
    """Yield the seconds until the next look, ever longer. Raises `ResultTimeout` in the end."""
    began, pause = time.monotonic(), _FIRST_PAUSE
    while True:
        left = math.inf if timeout is None else timeout - (time.monotonic() - began)
        if left <= 0:
            raise ResultTimeout(f"Job {id} had not ended after {timeout:g} s.{_open_transaction()}")
        yield min(pause, left)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _open_transaction() -> str:
    alias = rows.store()
    if alias is None or not in_transaction(connections[alias]):
        return ""
    return (
        f' A transaction is open on database "{alias}": a job that was dispatched in it cannot'
        " begin before it is committed."
    )
