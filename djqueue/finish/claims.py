"""Which ends have already been followed: a guard row, in the transaction of what follows.

Where jobs and what follows from them are in different stores, a worker may die after the one and
before the other. The job comes again then, and its row says that it has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from djqueue.drivers.guard.ends import write_ends
from djqueue.drivers.guard.table import AT_ONCE, Table
from djqueue.drivers.slices import slices
from djqueue.payload.links import links_of
from djqueue.runner.outcome import End

if TYPE_CHECKING:
    from djqueue.drivers.base import Reservation, Session


def claim(session: Session, alias: str, ends: Sequence[End]) -> list[End]:
    """Note in the open transaction of `alias` that jobs have ended; those that had not before."""
    if session.guards(alias):
        return [end for end in ends if session.confirm_end(end.reservation, over=True)]
    first = write_ends(alias, {end.id: end.reservation.payload for end in ends})
    return [end for end in ends if end.id in first]


def ended(session: Session, alias: str, reservations: Sequence[Reservation]) -> list[Reservation]:
    """Those of the jobs that have ended before, and are only not removed from their store yet."""
    if session.guards(alias):
        return []  # it asks its guard rows itself, before a job is begun
    found: dict[str, str] = {}
    for some in slices([each.id for each in reservations], AT_ONCE):
        found |= Table(alias).ended(some)
    return [each for each in reservations if found.get(each.id) == links_of(each.payload).push]
