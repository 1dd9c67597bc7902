"""Jobs as lists have them: what tells one from the others, and what went wrong with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from djqueue.errors import InvalidPayload
from djqueue.operations.describe import describe_failed_job, describe_job
from djqueue.payload import history, parts, payload
from djqueue.payload.encryption import SHOWN
from djqueue.payload.packing import is_stored
from djqueue.payload.store import unpacked
from djqueue.text.masking import masked, masked_text
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from djqueue.drivers.base import StoredJob
    from djqueue.models import FailedJob

__all__ = ["arguments_line", "attempts_of", "listed_failed_job", "listed_job", "shown_name"]

LONGEST_READ = 16_000
"""Characters of a payload whose arguments a list shows."""
LONGEST_LINE = 400


def listed_job(connection: str, job: StoredJob) -> dict[str, Any]:
    """Return a stored job as lists have it: the keys of `describe_job`, and ``tries display_name
    worker last_error arguments``.
    """
    return {
        **describe_job(connection, job),
        "tries": payload.limits_of(job.payload).tries,
        "display_name": masked_text(parts.display_name(job.payload)) or None,
        "worker": job.worker,
        "last_error": _last_error(job.history),
        "arguments": _arguments(job.payload),
    }


def listed_failed_job(row: FailedJob) -> dict[str, Any]:
    """Return a failed job as lists have it: the keys of `describe_failed_job`, and ``tries
    display_name``. It is a row that `failed_jobs.listed` has returned.
    """
    begin: str = row.payload_begin  # type: ignore[attr-defined]  # an annotation of the query
    return {
        **describe_failed_job(row),
        "tries": payload.limits_of(begin).tries,
        "display_name": masked_text(parts.display_name(begin)) or None,
    }


def shown_name(listed: Mapping[str, Any]) -> str:
    """Return the display name with the stored name, or the stored name alone."""
    shown, name = listed["display_name"], listed["name"]
    return f"{shown} ({name})" if shown else str(name)


def attempts_of(listed: Mapping[str, Any]) -> str:
    """Return how often a job was begun, and of how many tries: ``2/3``."""
    tries = listed["tries"]
    return f"{listed['attempts']}/{tries}" if tries else str(listed["attempts"])


def arguments_line(arguments: Mapping[str, Any] | str | None) -> str:
    """Return arguments on one line, as in ``order=4, amount="3.50"``."""
    if isinstance(arguments, str):
        return arguments
    written = (f"{name}={json.dumps(each, ensure_ascii=False)}" for name, each in _of(arguments))
    return one_line(", ".join(written), LONGEST_LINE)


def _of(arguments: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    return list(arguments.items()) if arguments else []


def _last_error(past: str) -> str | None:
    error = history.last_error(history.read(past))
    if error is None:
        return None
    return masked_text(f"{error.class_name}: {error.message}")


def _arguments(text: str) -> dict[str, Any] | str | None:
    """Return the arguments with secrets masked; None for those that a list does not read, and a
    word for encrypted ones.
    """
    if payload.limits_of(text).encrypted:
        return SHOWN
    if len(text) > LONGEST_READ or is_stored(text):
        return None
    try:
        return masked(dict(unpacked(payload.decode(text), LONGEST_READ).arguments))  # type: ignore[no-any-return]
    except InvalidPayload:
        return None
