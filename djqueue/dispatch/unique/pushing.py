"""Pushing unique jobs to stores that keep their keys, and writing them into the outbox for those
that cannot: key and job are one transaction then.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING

from django.db import transaction

from djqueue.composition.chains.steps import store
from djqueue.dispatch.connections import queues
from djqueue.dispatch.outbox.outbox import Written
from djqueue.dispatch.unique.keys import keeps_keys_in_sql
from djqueue.drivers.unique_keys import Keys, ended_elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from djqueue.drivers.base import OutgoingJob

__all__ = ["push_unique", "take_keys", "write_unique"]

logger = logging.getLogger("djqueue")


def push_unique(connection: str, jobs: Sequence[OutgoingJob]) -> Mapping[str, str]:
    """Push jobs that have keys. Returns for each whose key another job has the id of that one."""
    driver = queues[connection].driver
    if driver.keeps_keys:
        return driver.push_unique(jobs)
    if not keeps_keys_in_sql(driver):
        driver.push(jobs)
        return {}
    written = Written(store(), connection)
    holders = write_unique(written, connection, jobs)
    left = [job for job in jobs if job.id not in holders]
    moved = written.move(left, driver)
    if moved.error is not None:
        what = "%s %s waits in the outbox, from where a worker will push it: %s"
        logger.warning(what, left[0].name, left[0].id, moved.error)
    return holders


def write_unique(
    written: Written, connection: str, jobs: Sequence[OutgoingJob]
) -> Mapping[str, str]:
    """Write jobs and their keys, in the open transaction or in one of its own. Returns as
    `push_unique`.
    """
    return _take(connection, jobs, written.write)


def take_keys(connection: str, jobs: Sequence[OutgoingJob]) -> Mapping[str, str]:
    """Take the keys of jobs that are pushed later. Returns as `push_unique`."""
    return _take(connection, jobs, lambda _: None)


def _take(
    connection: str,
    jobs: Sequence[OutgoingJob],
    write: Callable[[Sequence[OutgoingJob]], object],
) -> Mapping[str, str]:
    alias = store()
    keys = Keys(alias, connection, ended_elsewhere())
    is_open = transaction.get_connection(alias).in_atomic_block
    around = nullcontext if is_open else lambda: transaction.atomic(using=alias)
    return keys.push(jobs, write, around)
