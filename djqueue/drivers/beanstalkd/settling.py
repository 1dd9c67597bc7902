"""Settling: how a job leaves beanstalkd or goes back to its tube, and what becomes of its row.

beanstalkd itself refuses to delete or release what another connection has reserved, but lets every
connection delete what none has. So a job is touched before it is settled, unless this connection
has just reserved or touched it; then it leaves the store first, and its row is deleted afterwards.
A row that stays does no harm. Only where an answer was lost, the row decides whose the job is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from djqueue.drivers.beanstalkd import client, message
from djqueue.drivers.beanstalkd.client import Client, Reply
from djqueue.drivers.beanstalkd.inspection import has_job
from djqueue.drivers.beanstalkd.message import Message
from djqueue.drivers.guard import Guard
from djqueue.drivers.guard.holdings import Holding, Holdings
from djqueue.drivers.types import Settlement, Verdict
from djqueue.errors import QueueUnavailable
from djqueue.payload.links import needs_guard

MOST_REMEMBERED = 10_000

Pair = tuple[Settlement, Holding[Message]]


class Settling:
    """Settles what a connection holds."""

    def __init__(
        self, connection: Client, guard: Guard, holdings: Holdings[Message], hold_for: int
    ) -> None:
        self._client = connection
        self._guard = guard
        self._holdings = holdings
        self._hold_for = hold_for
        self._deleted: list[Holding[Message]] = []
        """Jobs that have left the store, and whose rows are still there."""

    def note_answers(self, pairs: Sequence[Pair], replies: Sequence[Reply]) -> set[str]:
        """Note which jobs were deleted or touched. Return the ids of the lost ones."""
        answered = list(zip(pairs, replies, strict=True))
        self._remove([holding for (_, holding), reply in answered if reply.word == "DELETED"])
        return self.resolve([pair for pair, reply in answered if reply.word == "NOT_FOUND"])

    def settle(self, pairs: Sequence[Pair]) -> set[str]:
        """Delete or put back jobs that have just been touched. Return the ids of the lost ones.
        Rows of jobs that stay come first: only then may another worker be given the job.
        """
        kept = [(s, h) for s, h in pairs if s.verdict is not Verdict.REMOVE]
        lost = self._guard.put_back([(s, h.claim.number) for s, h in kept]) if kept else set()
        copied = self._put_copies([(s, h) for s, h in kept if s.reservation.id not in lost])
        commands = []
        for settlement, holding in pairs:
            job = holding.message
            if settlement.verdict is Verdict.REMOVE or job.key in copied:
                holding.settling = True
                commands.append(client.delete(job.key))
                continue
            delayed = (
                settlement.verdict is Verdict.RELEASE and settlement.reservation.id not in lost
            )
            delay = message.whole_seconds(settlement.delay) if delayed else 0
            commands.append(client.release(job.key, message.urgency(job.priority), delay))
        replies = self._client.ask(commands, opening=self._client.openings)
        missing = [
            pair
            for pair, reply in zip(pairs, replies, strict=True)
            # Where a second copy was put, it does not matter what became of the first.
            if reply.word == "NOT_FOUND" and pair[1].message.key not in copied
        ]
        keys = {holding.message.key for _, holding in missing}
        ended = [h for s, h in pairs if s.verdict is Verdict.REMOVE]
        self._remove([holding for holding in ended if holding.message.key not in keys])
        lost |= self.resolve(missing)
        self._holdings.settle(holding for _, holding in kept)
        return lost

    def _put_copies(self, pairs: Sequence[Pair]) -> set[int]:
        """Put a second copy of each job that is tried again, and delete the first: a released job
        would keep its place in the tube, and a job that is tried again goes to the end. Until the
        first copy is deleted the row says that both are one push. Return the keys of the copies; a
        job that the server refuses to store twice keeps its place.
        """
        tubes: dict[str, dict[int, bytes]] = defaultdict(dict)
        for settlement, holding in pairs:
            job = holding.message
            tried = settlement.verdict is Verdict.RELEASE and settlement.charged
            if tried and not job.foreign:
                copy = job.another_copy(settlement.delay)
                body = message.encode(copy, self._hold_for)
                tubes[job.queue][job.key] = message.put(copy, body, self._hold_for)
        stored: set[int] = set()
        for tube, commands in tubes.items():
            replies = self._client.ask(list(commands.values()), use=tube)
            delete_buried(self._client, replies)
            stored |= {
                key for key, r in zip(commands, replies, strict=True) if r.word == "INSERTED"
            }
        return stored

    def _remove(self, holdings: Iterable[Holding[Message]]) -> None:
        """Delete the rows of jobs that have left the store. A row that could not be deleted does no
        harm: the next call tries again, and in the end it is pruned.
        """
        some = list(holdings)
        self._holdings.settle(some)
        self._deleted += some
        if self._deleted:
            copied = [each.claim for each in self._deleted if _may_have_copies(each)]
            single = [each.claim for each in self._deleted if not _may_have_copies(each)]
            try:
                if single:
                    self._guard.delete(single)
                if copied:
                    self._guard.end(copied)
            except QueueUnavailable:
                del self._deleted[:-MOST_REMEMBERED]
            else:
                self._deleted.clear()

    # -- doubts --------------------------------------------------------------------------------

    def resolve(self, pairs: Sequence[Pair]) -> set[str]:
        """Settle jobs that this connection no longer holds. Return the ids of the lost ones. A
        deletion whose answer was lost may be carried out at any moment, whatever the server says
        before: a job whose row can be ended has ended, and the next worker that reserves it deletes
        it. The same holds for a job that the server does not have, and that no other worker took
        over.
        """
        if not pairs:
            return set()
        sent = {h for s, h in pairs if s.verdict is Verdict.REMOVE and h.settling}
        refused = self._guard.end(holding.claim for holding in sent) if sent else set()
        lost = {holding.reservation.id for holding in sent} & refused
        self._holdings.settle(sent)
        others = [(s, h) for s, h in pairs if h not in sent]
        vanished, taken = self.look_for([holding for _, holding in others])
        lost |= {
            s.reservation.id for s, h in others if h in vanished and s.verdict is not Verdict.REMOVE
        }
        self._remove(vanished)
        return lost | self._holdings.lose(taken)

    def look_for(
        self, holdings: Sequence[Holding[Message]]
    ) -> tuple[set[Holding[Message]], list[Holding[Message]]]:
        """Return the jobs that the server no longer has although their rows are still ours, and the
        others, which other workers have or will be given.
        """
        absent = [
            holding
            for holding in holdings
            if not has_job(self._client, holding.message.key, holding.reservation.id)
        ]
        ours = self._guard.still_held([h.claim for h in absent]) if absent else set()
        vanished = {holding for holding in absent if holding.reservation.id in ours}
        return vanished, [holding for holding in holdings if holding not in vanished]


def _may_have_copies(holding: Holding[Message]) -> bool:
    """Return whether the store may have another copy of the same push: its answer was lost and it
    was put again, the job was released, or it came through the outbox. The row is kept then.
    """
    reservation = holding.reservation
    if holding.message.push_id or reservation.attempt > 1:
        return True
    return needs_guard(reservation.payload)


def delete_buried(connection: Client, replies: Iterable[Reply]) -> None:
    """Delete jobs that the server had no memory to queue: no worker would ever be given them."""
    buried = [client.delete(reply.number) for reply in replies if reply.word == "BURIED"]
    if buried:
        connection.ask(buried)
