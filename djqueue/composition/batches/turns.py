"""A batch that is a step of a chain. Its members are written at the dispatch of the chain, and wait
as rows of the outbox until it is the turn of the batch: then they go to their stores, a slice at a
time. A batch whose turn never comes has its members removed, and calls for nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from djqueue.composition.batches import counting
from djqueue.composition.batches.counting import Counted, Ends
from djqueue.composition.chains import steps
from djqueue.composition.ended import Ended, How, Turn
from djqueue.databases.now import UtcNow
from djqueue.payload.links import Links, links_of, read_links, stored_links

if TYPE_CHECKING:
    from djqueue.composition.chains.steps import Push

__all__ = ["begin", "release"]

FIRST = 100
"""Members that go to their stores together with the turn. The others are left to a worker's child:
what the parent does has to be brief."""


def begin(alias: str, batch: str, links: Links | None = None) -> Counted:
    """It is the turn of a batch, as a part of the open transaction of `alias`: some of its members
    are pushed, the others soon afterwards. `links` are those that the batch has as a step; None:
    those that it was written with. A batch that was cancelled or pruned ends at once.
    """
    rows = counting.rows(alias).filter(pk=batch)
    if links is None:
        text = rows.values_list("links", flat=True).first()
        links = read_links(json.loads(text or "{}"))
    written = json.dumps(stored_links(links))
    if not rows.filter(turn=Turn.WAITS).update(turn=Turn.RUNS, links=written):
        return Counted([], [Ended(links, How.GONE, batch)])
    outer = counting.rows(alias).filter(pk=links.batch, cancelled_at__isnull=False)
    if links.batch and not links.retried and outer.exists():
        counting.cancel(alias, batch, "its batch was cancelled")
    return release(alias, batch, FIRST)


def release(alias: str, batch: str, limit: int) -> Counted:
    """Let up to `limit` members of a batch go whose turn it is, as a part of the open transaction
    of `alias`. Of a batch that is cancelled none goes.
    """
    row = counting.rows(alias).filter(pk=batch).first()
    taken = []
    if row is not None and not row.cancelled:
        taken = steps.take_members(alias, batch, limit)
    pushed: list[Push] = []
    ended: list[Ended] = []
    thrown = []
    for each in taken:
        if steps.is_batch(each):  # the first step of a chain
            inner = begin(alias, str(each.uuid))
            pushed += inner.pushed
            ended += inner.ended
        elif steps.discards(each.connection):
            thrown.append(each.payload)
        else:
            links = links_of(each.payload)
            pushed.append(steps.as_push(each, each.payload, links.batch))
    if thrown:
        steps.throw_away(alias, thrown)
        counting.cancel(alias, batch, counting.THROWN_AWAY)
    more = len(taken) == limit
    if more:
        counting.rows(alias).filter(pk=batch).update(upkeep_at=UtcNow())
    counted = counting.count(alias, Ends(batch, len(thrown)))
    return Counted([*pushed, *counted.pushed], [*ended, *counted.ended], more)
