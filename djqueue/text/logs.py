"""djqueue's loggers, and the border that every record of theirs passes.

    djqueue           what has no logger of its own: receivers, imports, jobs run after a response
    djqueue.jobs      attempts that failed (WARNING) and jobs that were given up (ERROR)
    djqueue.worker    what a worker meets
    djqueue.audit     who did what

Names, queues and messages come from stores and from exceptions: no record may forge a line, move a
cursor or tell a secret, whoever wrote what it is about.
"""

from __future__ import annotations

import logging

from djqueue.text.masking import masked_text
from djqueue.text.printable import lines, one_line

__all__ = ["LOGGERS", "Border", "install"]

LOGGERS = ("djqueue", "djqueue.jobs", "djqueue.worker", "djqueue.audit")

_FORMATTER = logging.Formatter()


class Border(logging.Filter):
    """Makes a record fit for people, before any handler sees it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True: every record passes."""
        try:
            record.msg = one_line(masked_text(record.getMessage()))
            record.args = None
            if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
                # Formatters take this text. Who reads `exc_info` itself has objects, not a line.
                text = _FORMATTER.formatException(record.exc_info)
                record.exc_text = lines(masked_text(text))
        except Exception:  # noqa: BLE001 - logging must not raise; the handler tells of bad arguments
            return True
        return True


def install() -> None:
    """Put the border in front of every logger of djqueue. Calling it again changes nothing."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, Border) for each in logger.filters):
            logger.addFilter(Border())
