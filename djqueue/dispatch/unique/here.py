"""The unique keys of jobs that run in this process, on ``sync`` connections."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from djqueue.drivers.unique_keys import key_of

if TYPE_CHECKING:
    from djqueue.drivers.base import OutgoingJob

__all__ = ["running"]


class _Running:
    """Which jobs have keys now: those of all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: dict[tuple[str, str], str] = {}

    @contextmanager
    def __call__(self, connection: str, job: OutgoingJob) -> Iterator[str | None]:
        """Keep the key of a job that runs in this block. Yields the id of the job that has it, if
        another one does: then this one must not run.
        """
        key = connection, key_of(job)
        with self._lock:
            holder = self._ids.setdefault(key, job.id)
        try:
            yield None if holder == job.id else holder
        finally:
            if holder == job.id:
                with self._lock:
                    del self._ids[key]


running = _Running()
