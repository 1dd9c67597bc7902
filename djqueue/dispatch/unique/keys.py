"""Unique jobs at their dispatch: the key, and a push that is refused while another job has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from djqueue.dispatch.connections import queues
from djqueue.drivers.types import UniqueKey
from djqueue.errors import QueueUnavailable, Unsupported
from djqueue.payload.links import Links, links_of, may_be_linked, with_links

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from djqueue.dispatch.outgoing import Sendable
    from djqueue.drivers.base import Driver, OutgoingJob
    from djqueue.jobs.definition.spec import JobSpec

__all__ = ["KeysTaken", "keeps_keys_in_sql", "key_in", "push_all", "why_kept_out"]
__all__ += ["with_key"]


class KeysTaken(QueueUnavailable):
    """Other jobs have the unique keys of some that were pushed; all the others are stored."""

    def __init__(self, stored: Sequence[str], holders: Mapping[str, str]) -> None:
        super().__init__(
            f"{len(holders):,} jobs are unique, and others have their keys.",
            ambiguous=False,
            stored=stored,
        )
        self.holders = holders
        """The ids of those others, by the ids of the jobs that were not stored."""


def with_key(job: Sendable, spec: JobSpec) -> Sendable:
    """Return `job` with its unique key, which stands in the payload too, so that its end is known
    to be that of a unique job. Raises `Unsupported` where several stores may get the job.
    """
    connection = queues[job.plan.connection]
    if connection.members != (connection.name,):
        raise Unsupported(
            f'Connection "{connection.name}" cannot keep jobs unique, since several connections may'
            f" get them: {spec.name} was not queued. Dispatch it to one of them:"
            f" {', '.join(connection.members)}."
        )
    key = UniqueKey(spec.unique_key(job.instance), spec.options.unique_for)
    links = Links(
        unique=key.key,
        result=job.plan.keeps_result,
        unique_for=key.seconds,
        keyed=keeps_keys_in_sql(connection.driver),
    )
    outgoing = job.outgoing
    payload = with_links(outgoing.payload, links)
    return job._replace(outgoing=outgoing._replace(payload=payload, unique=key))


def keeps_keys_in_sql(driver: Driver) -> bool:
    """Whether a store cannot keep the unique keys of its jobs."""
    return driver.capabilities.keeps_jobs and not driver.keeps_keys


def push_all(driver: Driver, jobs: Sequence[OutgoingJob]) -> None:
    """Push jobs, with and without keys. Raises `KeysTaken`, beside what `Driver.push` raises."""
    unique = [job for job in jobs if job.unique is not None] if driver.keeps_keys else []
    others = [job for job in jobs if job.unique is None] if unique else jobs
    driver.push(others)
    try:
        holders = driver.push_unique(unique) if unique else {}
    except QueueUnavailable as error:
        error.stored = error.stored.union(job.id for job in others)
        raise
    if holders:
        raise KeysTaken([job.id for job in jobs if job.id not in holders], holders)


def key_in(payload: str) -> UniqueKey | None:
    """Return the unique key of a job, by its payload; None where it has none."""
    if not may_be_linked(payload):
        return None
    links = links_of(payload)
    return UniqueKey(links.unique, links.unique_for) if links.unique else None


def why_kept_out(holder: str) -> str:
    """Say which job has the unique key of another one."""
    return f"job {holder} has its unique key."
