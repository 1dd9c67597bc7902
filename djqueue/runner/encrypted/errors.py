"""Errors of encrypted jobs. The text of an exception may repeat an argument. What is stored and
announced has its class and its frames; the text is encrypted, with the whole traceback.
"""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING

from djqueue.errors import MissingPackage, QueueError
from djqueue.payload.encryption import SHOWN, decrypt, encrypt
from djqueue.payload.history import MESSAGE_LIMIT
from djqueue.runner.outcome import (
    TRACEBACK_LIMIT,
    ErrorReport,
    cleaned_traceback,
    exception_of,
    report,
)
from djqueue.text.marks import is_in_own_words, is_marked, mark

if TYPE_CHECKING:
    from djqueue.drivers.base import Reservation

__all__ = ["hidden_report", "public_error", "revealed", "short_token"]

_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


def hidden_report(error: BaseException, job: Reservation) -> ErrorReport:
    """Describe an exception of an encrypted job, and remember of it that it is one. Without the
    package its text is lost.
    """
    mark(error)
    whole = report(error)
    return whole._replace(
        message=_words(error, whole),
        traceback=cleaned_traceback(_outline(error)),
        encrypted=_token(whole.message, whole.traceback, job),
    )


def short_token(error: BaseException, job: Reservation) -> str:
    """Return a token that has the message alone, for the history of the job."""
    whole = report(error)
    message = whole.message[:MESSAGE_LIMIT]
    return _token(message, f"{whole.class_name}: {message}\n", job)


def _token(message: str, traceback: str, job: Reservation) -> str:
    words = json.dumps([message, traceback])
    try:
        return encrypt(words, level=1, kind="error", job=job.name, id=job.id)
    except MissingPackage:
        return ""


def revealed(described: ErrorReport, job: Reservation) -> ErrorReport:
    """Return the report with its words, for the job's own ``failed()``; as it is where they cannot
    be decrypted.
    """
    if not described.encrypted:
        return described
    limit = 8 * TRACEBACK_LIMIT
    try:
        words = decrypt(described.encrypted, limit=limit, kind="error", job=job.name, id=job.id)
    except QueueError:
        return described
    message, text = json.loads(words)
    return described._replace(message=message, traceback=text)


def public_error(error: BaseException, *, hides: bool) -> BaseException:
    """Return what logs, signals and spans are given of an exception: without its text and frames if
    the job `hides` them, or if it, or an exception behind it, has left an encrypted job.
    """
    if not hides and not is_marked(error):
        return error
    whole = report(error)
    return exception_of(
        whole._replace(message=_words(error, whole), traceback=cleaned_traceback(_outline(error)))
    )


def _words(error: BaseException, whole: ErrorReport) -> str:
    return whole.message if is_in_own_words(error) else SHOWN


def _outline(error: BaseException) -> str:
    """Return a traceback without the words of exceptions, notes included."""
    found: list[str] = []
    seen: set[int] = set()
    _add(error, found, seen)
    return "".join(found)


def _add(error: BaseException, found: list[str], seen: set[int]) -> None:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen and len(seen) < _MOST:
        _add(before, found, seen)
        found.append(_CONTEXT if error.__cause__ is None else _CAUSE)
    if error.__traceback__ is not None:
        found.append("Traceback (most recent call last):\n")
        found += traceback.format_tb(error.__traceback__)
    name = type(error).__qualname__
    if type(error).__module__ != "builtins":
        name = f"{type(error).__module__}.{name}"
    found.append(f"{name}: {error if is_in_own_words(error) else SHOWN}\n")
    for each in getattr(error, "exceptions", ()):
        if isinstance(each, BaseException) and id(each) not in seen and len(seen) < _MOST:
            found.append("\nOne of the group:\n\n")
            _add(each, found, seen)


_MOST = 50
"""Exceptions in a traceback."""
