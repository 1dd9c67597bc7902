"""The one order in which an attempt ends: settled once, with what follows, and only then announced.

An end without followers is settled by the next exchange. An end with followers, such as a failure
with its row among the failed jobs, is settled together with what they write: in one transaction
where both share a database; elsewhere one after the other (`djqueue.finish.followed`), so that a
job is never in neither place.
`Finish.take_stored` returns the ends that may be announced: lines, signals, ``failed()``.

A worker's parent, one without children and a test call it; so does the child of an `atomic` job, as
the last act of its transaction (`Finish.within`).

What the database refuses for its content is not an outage: it is stored in another form, or its job
waits, alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from django.db import DatabaseError

from djqueue.conf import settings
from djqueue.drivers.base import Reservation, Settlement, Verdict
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.finish.claims import ended
from djqueue.finish.followed import FollowedEnds
from djqueue.finish.follower import Follower
from djqueue.finish.ports import Ask, Push, ask_directly, refuse
from djqueue.finish.unanswered import LOST_JOB, Unanswered
from djqueue.payload.links import LINKS_BEFORE, LINKS_MARK, needs_guard
from djqueue.runner.decision import LOST, RETURNED
from djqueue.runner.outcome import End

if TYPE_CHECKING:
    from djqueue.drivers.base import Session

logger = logging.getLogger("djqueue.worker")


class Finish:
    """Keeps ends until they are stored, and then until they are announced."""

    def __init__(
        self,
        session: Session,
        connection: str,
        ask: Ask = ask_directly,
        followers: Sequence[Follower] = (),
        push: Push = refuse,
    ) -> None:
        """`followers` come after the failed rows, in this order, which is that of their locks."""
        self._session = session
        self._ask = ask
        self._unanswered = Unanswered(session)
        """Settlements that were sent and not answered."""
        self._followed = FollowedEnds(session, connection, ask, push, self._unanswered, followers)
        self._wants = self._followed.wants
        self._asks_always = not self._followed.only_bound
        self.followed: Sequence[End] = self._followed.waiting
        """The ends from which something follows, not stored yet."""
        alias = settings().shared_database
        self._knows_ends = session.joins(alias) or session.guards(alias)
        """Whether a job that has ended is never reserved again."""
        self.settlements: list[Settlement] = []
        """What the next exchange is to settle."""
        self._ends: dict[str, End] = {}
        """What those settlements are about, and those that were sent, by the jobs' ids."""
        self._stored: list[End] = []
        self._unconfirmed: set[str] = set()
        """Jobs whose reservations were reported lost, and that then ended."""

    def add(self, ends: Iterable[End]) -> None:
        """Keep the ends of attempts until they are stored."""
        for end in ends:
            reservation, outcome, _ = end
            if (
                outcome.ending is RETURNED
                and not (outcome.settled or self._asks_always)
                and reservation.payload.find(LINKS_MARK, 0, LINKS_BEFORE) < 0  # no call: hot path
            ):
                self._ends[reservation.id] = end  # most jobs by far: nothing follows
                self.settlements.append(Settlement(reservation))
            elif outcome.settled or outcome.ending is LOST:
                self._add_ended_elsewhere(end)
            elif outcome.charged or outcome.repeats:
                self._add(end)
            else:  # it was never begun
                before = reservation._replace(attempt=reservation.attempt - 1)
                self._add(end._replace(reservation=before))

    def _add(self, end: End) -> None:
        reservation, outcome, _ = end
        for wants in self._wants:
            if wants(end):
                self._followed.waiting.append(end)
                return
        self._ends[reservation.id] = end
        self.settlements.append(outcome.settlement_of(reservation))

    def _add_ended_elsewhere(self, end: End) -> None:
        """The job's own transaction has settled it, or its reservation was reported lost.

        An end that is `LOST` and not settled is that of a job that knew that its outcome would be
        ignored. It is settled as interrupted: if the reservation is still this worker's, the job
        returns to its queue and runs again.
        """
        reservation, outcome, _ = end
        if not outcome.settled:
            self._unconfirmed.add(reservation.id)
            self.settlements.append(Settlement(reservation, Verdict.INTERRUPTED))
        elif outcome.ending is LOST:
            logger.warning(LOST_JOB, *_named(reservation))
        else:
            self._stored.append(end)

    def to_run(self, reservations: list[Reservation]) -> list[Reservation]:
        """Those of the reserved jobs that have not ended yet. A job that is bound to others may
        have ended in SQL and come again, if its worker died before its store knew: it is removed.
        Where that cannot be asked, it goes back.
        """
        if self._knows_ends:
            return reservations
        linked = [r for r in reservations if r.payload.find(LINKS_MARK, 0, LINKS_BEFORE) > 0]
        bound = [each for each in linked if needs_guard(each.payload)]
        if not bound:
            return reservations
        alias = settings().shared_database
        try:
            over = self._ask(alias, lambda: ended(self._session, alias, bound))
        except (QueueUnavailable, DatabaseError) as error:
            logger.info("Jobs that are bound to others wait: %s", error)
            self.give_back(bound)
            over = bound
        else:
            self.settlements += map(Settlement, over)
        left = {each.id for each in over}
        return [each for each in reservations if each.id not in left]

    def give_back(self, reservations: Sequence[Reservation]) -> None:
        """They were never begun."""
        self.settlements += [Settlement(r, Verdict.RETURN) for r in reservations]

    @property
    def session(self) -> Session:
        """Through which it settles."""
        return self._session

    @property
    def waiting(self) -> list[Reservation]:
        """What has ended and is not stored; it is held as much as what still runs."""
        ended = [settlement.reservation for settlement in self.settlements]
        return ended + [end.reservation for end in self._followed.waiting]

    @property
    def is_done(self) -> bool:
        """Whether it keeps nothing."""
        return not (self.settlements or self._followed.waiting or self._stored)

    def take_stored(self) -> list[End]:
        """The ends that were stored since the last call, to be announced."""
        stored, self._stored = self._stored, []
        return stored

    # -- what nothing follows ------------------------------------------------------------------

    def taken(self) -> list[Settlement]:
        """What to settle now. Handed back by `broke_off` when the store could not be reached."""
        settlements, self.settlements = self.settlements, []
        return settlements

    def broke_off(self, settlements: list[Settlement]) -> None:
        """The store could not be reached while it settled these, and may have settled them."""
        self.settlements = settlements + self.settlements
        self._unanswered.remember(settlement.reservation.id for settlement in settlements)

    def given_up(self, id: str) -> None:
        """The store refuses to settle job `id`: it runs again when its lease has expired."""
        self._ends.pop(id, None)
        self._unanswered.forget([id])
        self._unconfirmed.discard(id)

    def settled(self, settlements: Sequence[Settlement], lost: set[str]) -> None:
        """The store has answered."""
        if sent := lost & self._unanswered.ids:
            lost = lost - self._removed_before(settlements, sent)
        if lost or self._unconfirmed:
            for settlement in settlements:
                self._settled_one(settlement.reservation, lost)
        else:
            pop = self._ends.pop
            found = [pop(settlement.reservation.id, None) for settlement in settlements]
            self._stored += [end for end in found if end is not None]
        if self._unanswered.ids:
            self._unanswered.forget(settlement.reservation.id for settlement in settlements)

    def _settled_one(self, reservation: Reservation, lost: set[str]) -> None:
        id = reservation.id
        end = self._ends.pop(id, None)
        if id in lost:
            self._unconfirmed.discard(id)
            self._unanswered.warn(reservation)
        elif end is not None:
            self._stored.append(end)
        elif id in self._unconfirmed:
            self._unconfirmed.remove(id)
            logger.warning(_AGAIN, *_named(reservation))

    def _removed_before(self, settlements: Sequence[Settlement], sent: set[str]) -> set[str]:
        """The jobs among those `sent` before that ended for good then. None if the store is away
        again: they remain lost.
        """
        removals = {s.reservation.id for s in settlements if s.verdict is Verdict.REMOVE}
        try:
            return self._unanswered.removed(removals & sent & self._ends.keys())
        except (QueueError, DatabaseError):
            return set()

    # -- what something follows ----------------------------------------------------------------

    def within(self, ends: Sequence[End], alias: str) -> set[str]:
        """End `ends` in the open transaction of `alias`, with all that follows. Returns the ids of
        those that belong to other workers.
        """
        return self._followed.within(ends, alias)

    def store_followed(self) -> None:
        """Store the ends that something follows. `QueueUnavailable` and `NotRecordedError` leave
        what is not stored to be tried again.
        """
        for stored in self._followed.store():
            self._stored += stored.ends
            self.settlements += stored.settlements


def _named(reservation: Reservation) -> tuple[str, str, int]:
    return reservation.name, reservation.id, reservation.attempt


_AGAIN = (
    "%s %s (attempt %d) runs again: its reservation was reported lost while it ran, and its outcome"
    " was ignored."
)
