"""Jobs whose ends are written in SQL, on their way from one store to another: see
`djqueue.operations.verbs.moving`.

The store that such a job comes from may still have it: the process that moved it may have died, or
got no answer. So the push that it comes from is ended before the job is pushed, in one transaction
with the row. If it has ended already, the job ran where it was, and the row goes. If not, whatever
is left of it there is removed without being run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.db import transaction

from djqueue.dispatch.outbox import rows as outbox_rows
from djqueue.dispatch.outbox.rows import Taken
from djqueue.drivers.guard.ends import write_ends
from djqueue.payload.links import MOVED_MARK, links_of, needs_guard, with_links

if TYPE_CHECKING:
    from djqueue.payload.links import Links

__all__ = ["end_earlier_pushes", "on_its_way"]


def on_its_way(payload: str, push: str) -> str:
    """Return the payload of a job that is moved with a new push."""
    links = links_of(payload)
    if needs_guard(payload):
        return with_links(payload, links._replace(moved=push))
    return with_links(payload, links._replace(push=push))


def end_earlier_pushes(alias: str, by: str, taken: Sequence[Taken]) -> list[Taken]:
    """End the pushes that the moved jobs among those come from, whose rows `by` holds. Return the
    jobs that are to be pushed, as they are then.
    """
    moved = {each.job.id: links for each in taken if (links := _moved(each)) is not None}
    if not moved:
        return list(taken)
    with transaction.atomic(using=alias):
        mine = outbox_rows.lock(alias, by, moved)
        payloads = {each.job.id: each.job.payload for each in taken if each.job.id in mine}
        first = write_ends(alias, payloads)
        outbox_rows.gone(alias, by, mine - first)
        after = {id: with_links(payloads[id], _arrived(moved[id])) for id in first}
        outbox_rows.rewrite(alias, by, after)
    return [
        each._replace(job=each.job._replace(payload=after.get(each.job.id, each.job.payload)))
        for each in taken
        if each.job.id in first or each.job.id not in moved
    ]


def _moved(taken: Taken) -> Links | None:
    """Return the links of a job that is moved."""
    if MOVED_MARK not in taken.job.payload:
        return None
    links = links_of(taken.job.payload)
    return links if links.moved else None


def _arrived(links: Links) -> Links:
    return links._replace(push=links.moved, moved="")
