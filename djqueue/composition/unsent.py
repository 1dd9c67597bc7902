"""Jobs that never reached their store, and have failed: what that means for those bound to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from djqueue.composition import steps
from djqueue.composition.batches import counting
from djqueue.composition.batches.counting import Ends
from djqueue.composition.pushing import push
from djqueue.conf import settings
from djqueue.payload.links import links_of, may_be_linked
from djqueue.results import rows as results

if TYPE_CHECKING:
    from djqueue.composition.steps import Push
    from djqueue.drivers.base import Driver, OutgoingJob

__all__ = ["follow"]


def follow(
    alias: str, failed: Mapping[str, tuple[OutgoingJob, str]], driver_of: Callable[[str], Driver]
) -> None:
    """Write what follows from failures, by the ids of the jobs and with their errors, as a part of
    the open transaction of `alias` that removes the jobs.
    """
    if alias != steps.store():
        return  # what is bound to others is written nowhere else
    bound = {
        id: (links_of(job.payload), error)
        for id, (job, error) in sorted(failed.items())
        if may_be_linked(job.payload)
    }
    results.end(
        alias,
        {
            id: {"status": results.FAILED, "error": error}
            for id, (links, error) in bound.items()
            if links.result
        },
    )
    called_for: list[Push] = []
    for chain in sorted({links.chain for links, _ in bound.values()} - {""}):
        called_for += steps.break_off(alias, chain, for_good=settings().failed_jobs is None)
    members: dict[str, list[str]] = {}
    for id, (links, _) in bound.items():
        if links.batch:
            members.setdefault(links.batch, []).append(id)
    for batch, ids in sorted(members.items()):
        called_for += counting.count(alias, Ends(batch, len(ids), ids))
    push(alias, called_for, driver_of)
