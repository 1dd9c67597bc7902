"""A hint for developers: jobs wait, and nothing runs them.

The most common reason why "nothing happens" is that no worker was started. ``runserver`` says so
once, at the end of the first request that finds it.
"""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.signals import request_finished
from django.db import DatabaseError

from djqueue.errors import QueueError
from djqueue.operations.reports.queues import status
from djqueue.text import shell


def install() -> None:
    """Look after requests, where this is ``runserver`` in development."""
    if settings.DEBUG and sys.argv[1:2] == ["runserver"]:
        request_finished.connect(_look, dispatch_uid="djqueue.management.hints")


def _look(**kwargs: Any) -> None:
    line = unread()
    if line:
        request_finished.disconnect(dispatch_uid="djqueue.management.hints")
        sys.stderr.write(f"{line}\n")


def unread() -> str:
    """A line about jobs that wait where no worker reads, or an empty text."""
    try:
        queues = status.report().queues
    except (QueueError, DatabaseError):
        return ""
    for queue in queues:
        if queue.counts.waiting and queue.workers == 0:
            count = (
                "1 job waits" if queue.counts.waiting == 1 else f"{queue.counts.waiting} jobs wait"
            )
            command = shell.manage("queue_work", queue.connection, "--queue", queue.queue)
            return (
                f"djqueue: {count} on {queue.connection}:{queue.queue} and no worker reads it. Run"
                f" `{command}` in another terminal."
            )
    return ""
