"""What follows from the end of a unique job whose store cannot tell who has its key."""

from __future__ import annotations

from collections.abc import Sequence

from djqueue.composition.chains.steps import Push
from djqueue.drivers import unique_keys
from djqueue.payload.links import links_of, may_be_linked
from djqueue.runner.outcome import End


class UniqueKeys:
    """The row of the key goes, in the transaction that ends the job."""

    only_bound = True

    def wants(self, end: End) -> bool:
        """Whether it is the end of such a job."""
        if not may_be_linked(end.reservation.payload) or end.outcome.repeats:
            return False
        return links_of(end.reservation.payload).keyed

    def within(self, ends: Sequence[End], alias: str) -> list[Push]:
        """Delete the rows of their keys."""
        unique_keys.free_all(alias, [end.id for end in ends], map(_key, ends))
        return []


def _key(end: End) -> str:
    return links_of(end.reservation.payload).unique
