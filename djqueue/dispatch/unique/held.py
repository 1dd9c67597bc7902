"""Who has unique keys, for operators, and freeing one that is stuck."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from djqueue.conf import settings
from djqueue.dispatch.connections import queues
from djqueue.drivers import driver_class, unique_keys
from djqueue.errors import QueueError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Held", "held", "holders_of", "unlock"]


class Held(NamedTuple):
    """A key that a job has."""

    key: str
    job: str
    """The id of that job."""
    connection: str
    queue: str


def held(key: str | None = None) -> Iterator[Held]:
    """Find the keys that jobs have now, or `key` alone, which one job may have on each connection
    to Redis, and in each queue there.
    """
    for alias in settings().databases:
        for row in unique_keys.taken(alias, _beside_their_jobs(alias), key):
            yield Held(row.key, str(row.job), row.connection, row.queue)
    for name in _others():
        inspector = queues[name].inspector
        for queue in inspector.queues():
            for each, job in inspector.unique_keys(queue).items():
                if key in (None, each):
                    yield Held(each, job, name, queue)


def holders_of(key: str) -> list[str]:
    """Return the ids of the jobs that have the key, as far as the stores that answer know."""
    try:
        return sorted({each.job for each in held(key)})
    except QueueError:
        return []


def unlock(one: Held) -> bool:
    """Free a key, whatever the job that has it does. Return whether that job still had it."""
    if one.connection in _others():
        session = queues[one.connection].driver.session()
        session.free_key(one.job, one.queue, one.key)
        return True
    return sum(unique_keys.free(alias, one.job, one.key) for alias in settings().databases) > 0


def _beside_their_jobs(alias: str) -> list[str]:
    every = settings().connections.values()
    return [each.name for each in every if each.jobs_in_sql and each.database == alias]


def _others() -> list[str]:
    """The connections that keep keys in their own stores."""
    found = []
    for name, each in settings().connections.items():
        try:
            if driver_class(each).keeps_keys and not each.jobs_in_sql:
                found.append(name)
        except QueueError:  # its client library is not installed
            continue
    return found
