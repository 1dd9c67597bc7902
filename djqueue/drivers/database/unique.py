"""Unique jobs on a database connection: who has a key is found in the jobs table beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.database.calls import Calls
from djqueue.drivers.unique_keys import Keys, without_job

__all__ = ["push"]


def push(calls: Calls, jobs: Sequence[OutgoingJob]) -> Mapping[str, str]:
    """As `Driver.push_unique`."""
    dialect = calls.dialect
    keys = Keys(calls.alias, calls.name, without_job())
    return dialect.repeat(lambda: keys.push(jobs, dialect.push, dialect.transaction))
