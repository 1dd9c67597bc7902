"""Pushing what follows from an end, as a part of the transaction that stores the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from djqueue.composition.chains.steps import Push
from djqueue.drivers import parking
from djqueue.drivers.base import Driver, OutgoingJob
from djqueue.drivers.types import OutboxRow
from djqueue.errors import ConfigurationError


def push(alias: str, jobs: Sequence[Push], driver_of: Callable[[str], Driver]) -> None:
    """Push into the store where it shares the open transaction of `alias`. For other stores, and
    for connections that this worker does not know or cannot use, the jobs are written into the
    outbox, from where any worker moves them.
    """
    by_connection: dict[str, list[OutgoingJob]] = {}
    for connection, job in jobs:
        by_connection.setdefault(connection, []).append(job)
    for connection, some in by_connection.items():
        driver = None
        with suppress(ConfigurationError):
            driver = driver_of(connection)
        if driver is not None and driver.shares_transaction_with(alias):
            driver.push(some)
        else:
            rows = [OutboxRow(connection, job, parked=job.delay > 0) for job in some]
            parking.insert(alias, rows)
