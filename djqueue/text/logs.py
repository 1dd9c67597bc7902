"""djqueue's loggers, and the filter that cleans all their records.

    djqueue           receivers of signals, imports, jobs that run after a response
    djqueue.jobs      attempts that failed (WARNING) and jobs that were given up (ERROR)
    djqueue.worker    events of workers
    djqueue.audit     actions of operators

Names, queues and messages come from stores and exceptions. The filter ensures that no record forges
a line, moves a cursor or shows a secret.
"""

from __future__ import annotations

import logging

from djqueue.text.masking import masked_text
from djqueue.text.printable import lines, one_line

__all__ = ["LOGGERS", "Border", "install"]

LOGGERS = ("djqueue", "djqueue.jobs", "djqueue.worker", "djqueue.audit")

_FORMATTER = logging.Formatter()


class Border(logging.Filter):
    """Masks secrets and escapes invisible characters of a record before any handler gets it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the record. Returns True: every record passes."""
        try:
            record.msg = one_line(masked_text(record.getMessage()))
            record.args = None
            if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
                # Formatters use this text. `exc_info` itself keeps the objects.
                text = _FORMATTER.formatException(record.exc_info)
                record.exc_text = lines(masked_text(text))
        except Exception:  # noqa: BLE001 - logging must not raise; handlers report bad arguments
            return True
        return True


def install() -> None:
    """Add the filter to every logger of djqueue. A second call changes nothing."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, Border) for each in logger.filters):
            logger.addFilter(Border())
