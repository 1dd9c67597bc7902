"""What follows from ends for chains and batches: the next step of a chain, the count of a batch,
and the jobs that either calls for.

A batch that has finished is an end itself where it is a step of a chain, and a chain that has ended
where it is a member of a batch. So ends are followed level by level, in one transaction, until none
is left: chains first, in the order of their ids, then the deepest batch, of several the one with
the lowest id. Each transaction takes their locks in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from djqueue.composition.batches import counting, turns
from djqueue.composition.batches.counting import Ends
from djqueue.composition.chains import steps
from djqueue.composition.ended import Ended, How
from djqueue.conf import settings

if TYPE_CHECKING:
    from djqueue.composition.batches.counting import Counted
    from djqueue.composition.chains.steps import Push

__all__ = ["begin", "close", "count", "follow", "release"]


def follow(alias: str, ends: Sequence[Ended], *, keeps_failures: bool = True) -> list[Push]:
    """Write what follows from `ends`, as a part of the open transaction of `alias`. Returns the
    jobs to push. `keeps_failures`: a failed step can be retried, where failed jobs are kept at all.
    """
    levels = _Levels(alias, keeps_failures=keeps_failures)
    levels.end(ends)
    return levels.run()


def count(alias: str, ends: Ends) -> list[Push]:
    """Do so for members of a batch that never were in a store."""
    return _after(alias, counting.count(alias, ends))


def close(alias: str, batch: str) -> list[Push]:
    """Do so for a batch whose members are all in."""
    counting.close(alias, batch)
    return count(alias, Ends(batch, 0))


def begin(alias: str, batch: str) -> list[Push]:
    """Begin a batch that is the first step of a chain. Returns the jobs to push."""
    return _after(alias, turns.begin(alias, batch))


def release(alias: str, batch: str, limit: int) -> tuple[list[Push], bool]:
    """Let up to `limit` members go that waited for the turn of their batch. Returns the jobs to
    push, and whether more wait.
    """
    released = turns.release(alias, batch, limit)
    return _after(alias, released), released.more


def _after(alias: str, counted: Counted) -> list[Push]:
    levels = _Levels(alias, keeps_failures=True)
    levels.take(counted)
    return levels.run()


class _Levels:
    """Ends, and what they end."""

    def __init__(self, alias: str, *, keeps_failures: bool) -> None:
        self._alias = alias
        self._for_good = not keeps_failures or settings().failed_jobs is None
        self._pushed: list[Push] = []
        self._more: list[Ended] = []
        """Ends of batches that are not followed yet."""
        self._members: dict[str, list[Ended]] = {}
        """Ends of members, by batch, that are not counted yet."""
        self._depths: dict[str, int] = {}

    def run(self) -> list[Push]:
        """Go on until nothing is left. Returns the jobs to push."""
        while self._more or self._members:
            if self._more:
                more, self._more = self._more, []
                self.end(more)
            else:
                batch = self._deepest()
                some = self._members.pop(batch)
                failed = [each.id for each in some if each.how is How.FAILED]
                self.take(counting.count(self._alias, Ends(batch, len(some), failed)))
        return self._pushed

    def take(self, counted: Counted) -> None:
        """Take what a batch calls for, and its own end."""
        self._pushed += counted.pushed
        self._more += counted.ended

    def end(self, ends: Sequence[Ended]) -> None:
        """Go on with the chains of `ends`; what is no step, or ends its chain, counts in its
        batch.
        """
        gone = sorted({each.links.chain for each in ends if each.how is How.GONE} - {""})
        steps.give_up(self._alias, gone)
        for each in sorted(ends, key=lambda each: each.links[:2]):
            links = each.links
            if not (links.chain and self._goes_on(each)) and links.batch:
                self._members.setdefault(links.batch, []).append(each)

    def _goes_on(self, end: Ended) -> bool:
        """Take the next step of a chain, or break it. Return whether it has a next step."""
        alias, links = self._alias, end.links
        if end.how is not How.DONE:
            if end.how is How.FAILED:
                for_good = self._for_good or end.for_good
                self._pushed += steps.break_off(alias, links.chain, for_good=for_good)
            return False
        steps.add(alias, links.chain, end.passed_on)
        row = steps.take_next(alias, links.chain)
        if row is None:
            return False
        following = links._replace(step=links.step + 1, previous=end.previous, push="")
        if steps.is_batch(row):
            self.take(turns.begin(alias, str(row.uuid), following._replace(previous=None)))
        else:
            self._pushed.append(steps.bound(row, following))
        return True

    def _deepest(self) -> str:
        """Return the batch that is counted next."""
        if len(self._members) == 1:
            return next(iter(self._members))
        if unknown := self._members.keys() - self._depths.keys():
            self._depths |= dict.fromkeys(unknown, 0) | counting.depths(self._alias, unknown)
        return min(self._members, key=lambda batch: (-self._depths[batch], batch))
