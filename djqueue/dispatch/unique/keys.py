"""Unique jobs at their dispatch: the key, and a push that is refused while another job has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from djqueue.dispatch.connections import queues
from djqueue.drivers.types import UniqueKey
from djqueue.errors import QueueUnavailable, Unsupported
from djqueue.payload.links import Links, with_links

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from djqueue.dispatch.outgoing import Sendable
    from djqueue.drivers.base import Driver, OutgoingJob
    from djqueue.jobs.definition.spec import JobSpec

__all__ = ["KeysTaken", "push_all", "push_unique", "with_key"]


class KeysTaken(QueueUnavailable):
    """Other jobs have the unique keys of some that were pushed: those are `refused`."""


def with_key(job: Sendable, spec: JobSpec) -> Sendable:
    """Return `job` with its unique key, which stands in the payload too, so that its end is known
    to be that of a unique job.
    """
    key = UniqueKey(spec.unique_key(job.instance), spec.options.unique_for)
    outgoing = job.outgoing
    payload = with_links(outgoing.payload, Links(unique=key.key, result=job.plan.keeps_result))
    return job._replace(outgoing=outgoing._replace(payload=payload, unique=key))


def push_unique(connection: str, jobs: Sequence[OutgoingJob]) -> Mapping[str, str]:
    """Push jobs that have keys. Returns for each whose key another job has the id of that one."""
    driver = queues[connection].driver
    if driver.capabilities.discards:
        driver.push(jobs)
        return {}
    if not driver.keeps_keys:
        raise Unsupported(
            f'Connection "{connection}" cannot keep jobs unique: {jobs[0].name} was not queued. '
            "Dispatch it to a database connection, or drop unique=True."
        )
    return driver.push_unique(jobs)


def push_all(driver: Driver, jobs: Sequence[OutgoingJob]) -> None:
    """Push jobs, with and without keys. Raises `KeysTaken`, beside what `Driver.push` raises."""
    unique = [job for job in jobs if job.unique is not None] if driver.keeps_keys else []
    others = [job for job in jobs if job.unique is None] if unique else jobs
    driver.push(others)
    holders = driver.push_unique(unique) if unique else {}
    if holders:
        raise KeysTaken(
            f"Of {len(jobs):,} jobs {len(holders):,} are unique, and others have their keys.",
            ambiguous=False,
            stored=[job.id for job in jobs if job.id not in holders],
            refused={id: f"job {holder} has its unique key." for id, holder in holders.items()},
        )
