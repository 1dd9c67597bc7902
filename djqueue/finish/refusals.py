"""What a database refuses of a failed row, and what is kept then."""

from __future__ import annotations

from django.db import NotSupportedError, ProgrammingError

from djqueue.databases.errors import is_refusal
from djqueue.runner.outcome import ErrorReport

_MYSQL_FULL = (1114,)


def refuses(error: Exception) -> bool:
    """Return whether the table of the failed jobs refuses a row, as opposed to a database that
    cannot be reached. A table refuses a row for its content, or because the table does not exist,
    is read-only or is full.
    """
    if isinstance(error, ProgrammingError | NotSupportedError):
        return True
    return is_refusal(error) or (bool(error.args) and error.args[0] in _MYSQL_FULL)


def shortened(error: ErrorReport) -> ErrorReport:
    """Return what is kept of an error that no database takes."""
    text = f"The database refused this error, of {len(error.message)} characters."
    return ErrorReport(error.class_name[:100], text, text, error.place[:100])
